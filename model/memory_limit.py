"""Limit the memory of a process that works for a stranger, relative to what it has already."""

import resource
from pathlib import Path

MIB = 2**20


def limit_memory(memory_mib: int) -> None:
    """Let this process write to so much more memory than it can now; no core is dumped.

    RLIMIT_DATA counts memory that the process can write to, including thread stacks, and not the libraries or
    files that it maps. No limit that the kernel enforces is closer to resident memory. The memory that the
    process already has doesn't count against `memory_mib`.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmData:"))
    limit = int(kib) * 1024 + memory_mib * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
