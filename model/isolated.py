"""Run a module as a program that has no network and no secrets, because it reads what strangers send.

`python -m model.isolated MODULE ARGUMENT...` does what `python -m MODULE ARGUMENT...` does, in a network of
its own that leads nowhere. This file imports no library, because a process with threads can't leave its
network.
"""

import ctypes
import os
import runpy
import sys
from collections.abc import Mapping

# From <linux/sched.h>.
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
NETWORK = "INTERNVL3_NETWORK"  # the variable by which the program knows: "none", or "open" if it has one
# What Python and its libraries need from an environment, in which an operator may also keep keys and tokens.
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONWARNINGS",
    "PYTHONDONTWRITEBYTECODE",
    "NUMBA_CACHE_DIR",
    "XDG_CACHE_HOME",
)


def isolated_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module as a program without network."""
    return [sys.executable, "-P", "-m", "model.isolated", module, *arguments]


def kept_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that hold no secrets and that the program needs."""
    return {name: environ[name] for name in KEPT if name in environ}


def leave_network() -> bool:
    """Move this process, which has no other thread, into a network without any way out.

    Returns False if the kernel doesn't allow it. Root needs CAP_SYS_ADMIN for it. Other users need user
    namespaces, which root avoids, because in a new one it could no longer read other users' files.
    """
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWUSER | CLONE_NEWNET
    return ctypes.CDLL(None).unshare(flags) == 0


def main() -> None:
    """Leave the network and run the module that the command line names."""
    os.environ[NETWORK] = "none" if leave_network() else "open"
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
