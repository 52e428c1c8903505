"""Read from /proc which processes there are, and which of them belong together."""

from collections.abc import Mapping
from pathlib import Path

PROC = Path("/proc")


def processes(proc: Path = PROC) -> Mapping[int, Mapping[str, str]]:
    """Return the fields of /proc/PID/status of all processes by their ids."""
    found = {}
    for status in proc.glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:  # the process has ended meanwhile
            continue
        found[int(fields["Pid"])] = {name: value.strip() for name, value in fields.items()}
    return found


def family(root: int, proc: Path = PROC) -> Mapping[int, Mapping[str, str]]:
    """Return the fields of a process and of its living descendants."""
    found = processes(proc)
    members = {root}
    while children := {pid for pid, one in found.items() if int(one["PPid"]) in members} - members:
        members |= children
    return {pid: fields for pid, fields in found.items() if pid in members}


def is_running(pid: int, proc: Path = PROC) -> bool:
    """Return whether a process is there and hasn't ended. An ended one may still wait for its parent."""
    fields = processes(proc).get(pid)
    return fields is not None and not fields["State"].startswith(("Z", "X"))
