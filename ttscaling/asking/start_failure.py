"""Find in the log of a server, ours or vLLM's, why the server did not start."""

import re
import signal
from pathlib import Path

LAST_LINES = 3
LONGEST = 500  # characters of a reason
# Our server's last line is the reason. vLLM logs the error of an engine first, and errors that follow from it
# after that; a process may also end with a plain traceback.
OURS = re.compile(r"^internvl3: (.+)$", re.M)
ERROR = re.compile(
    r"^(?:\([^)]*\) ?)?(?:[A-Z]+ \d\d-\d\d [\d:]+ \[[^]]*\] )?((?:\w+\.)*\w*(?:Error|Exception)\b.*)$", re.M
)
FOLLOWS = "core initialization failed"


def start_failure(log: Path, status: int | None) -> str:
    """Return why a server did not start.

    This is the first error in its log or, if there is none, the signal that killed it and the last lines.
    `status` is the exit status of its process, negative for a signal, and None while the process runs.
    """
    text = log.read_text(errors="replace")
    errors = [line for line in ERROR.findall(text) if FOLLOWS not in line]
    if found := [*OURS.findall(text)[-1:], *errors[:1]]:
        return found[0][:LONGEST]
    end = f"it was ended by {signal.Signals(-status).name}; " if status is not None and status < 0 else ""
    return f"{end}its log ends with: {' / '.join(text.splitlines()[-LAST_LINES:])[-LONGEST:]}"
