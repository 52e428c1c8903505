"""Say what is known of an engine whose process ended while it started, and which logged no error."""

import re
import signal

STATUS = re.compile(r"': (-?\d+)")  # in vLLM's list of processes and their exit statuses, which may be empty
MEMORY = (
    "most likely the machine has too little memory for all its processes: end others, lower --kv-cache-gib, "
    "or start with --critic none"
)


def silent_end(message: str) -> str:
    """Return how the process ended, from vLLM's message, and what to change.

    Linux kills a process with SIGKILL when the memory runs out, and vLLM may not see the status of a process
    that has ended just now.
    """
    found = STATUS.search(message)
    if found is None:
        return f"its process ended without an error; {MEMORY}"
    status = int(found[1])
    if status == -signal.SIGKILL:
        return f"its process was killed; {MEMORY}"
    end = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"its process {end} and logged no error; start with --log-level debug to see its log"
