"""End a process when the one that has started it is gone, so that no engine stays without its server."""

import os
import signal
import threading
from multiprocessing import parent_process

THREAD = "internvl3-parent"


def end_with_parent() -> None:
    """Kill this process as soon as its parent has ended, however that was; a second call changes nothing.

    It does nothing in a process that Python's multiprocessing hasn't started. vLLM's engines wait for their
    server for ever: after a `kill -9` they would keep the memory of the GPU, and the server could not start
    again.
    """
    parent = parent_process()
    if parent is None or any(thread.name == THREAD for thread in threading.enumerate()):
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)  # what else would end it could wait for the parent, too

    threading.Thread(target=wait, name=THREAD, daemon=True).start()
