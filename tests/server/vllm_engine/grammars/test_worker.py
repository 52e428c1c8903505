"""The forks that compile grammars end with the process that started them."""

import os
import signal
import time

from server.vllm_engine.grammars.worker import end_with_parent


def test_a_fork_ends_when_its_parent_is_killed():
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        own = os.getpid()
        if os.fork() == 0:
            end_with_parent(own)
            os.write(writing, b"ready")
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 5) == b"ready"
    begun = time.monotonic()
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(reading, 5) == b"", "the last process that could write has ended"
    assert time.monotonic() - begun < 30
    os.close(reading)
