"""The peers' packages that our environment can't hold, in folders of their own: one for each lock."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from .contest import ROOT


def peers_folder(lock: str) -> Path:
    """Where the packages of requirements/LOCK.txt go, whether or not they are there."""
    # dill, which datasets uses, takes what isn't in a folder of this name for code of the user's own.
    return ROOT / "runs" / f"{lock}-peers" / "site-packages"


def install_peers(console: Console, lock: str = "bench") -> Path:
    """The folder with the packages of requirements/LOCK.txt, installed on first use and after a change.

    If that fails, pip's reason is printed, and the peers that miss their package will say so themselves.
    """
    folder = peers_folder(lock)
    requirements, stamp = ROOT / "requirements" / f"{lock}.txt", folder.parent / "installed.txt"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    command = [*pip, "--target", str(folder), "-r", str(requirements)]
    with console.status(f"installing the peers' packages into {folder.relative_to(ROOT)}"):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        stamp.write_text(wanted)
    else:
        console.print(f"The peers' packages could not be installed:\n{result.stderr}", markup=False)
    return folder
