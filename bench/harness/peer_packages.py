"""Install packages of the peers that our environment can't hold into folders outside of it."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from .contest import ROOT


def peers_folder(lock: str) -> Path:
    """Return the folder for the packages of requirements/LOCK.txt; it need not exist yet."""
    # The folder must be called site-packages: dill, which datasets uses, takes all other folders for the
    # user's own code.
    return ROOT / "runs" / f"{lock}-peers" / "site-packages"


def install_peers(console: Console, lock: str = "bench") -> Path:
    """Return the folder with the packages of requirements/LOCK.txt.

    They are installed on first use and after a change of the lock file. If that fails, pip's reason is
    printed; a peer whose package is missing then fails by itself.
    """
    folder = peers_folder(lock)
    requirements, stamp = ROOT / "requirements" / f"{lock}.txt", folder.parent / "installed.txt"
    locked = requirements.read_text()
    if stamp.exists() and stamp.read_text() == locked:
        return folder
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    command = [*pip, "--target", str(folder), "-r", str(requirements)]
    with console.status(f"installing the peers' packages into {folder.relative_to(ROOT)}"):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        stamp.write_text(locked)
    else:
        problem = (
            f"The peers' packages could not be installed, so some peers will fail. pip says:\n{result.stderr}"
        )
        console.print(problem, markup=False)
    return folder
