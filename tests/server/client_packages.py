"""Install the packages of other clients once, from a lock file, into runs/clients."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
INSTALLED = ROOT / "runs" / "clients"


def langchain_folder() -> Path:
    """Return the folder that holds LangChain for PYTHONPATH. Skips the test if it can't be installed."""
    folder = INSTALLED / "python"
    folder.mkdir(parents=True, exist_ok=True)
    dev_pins = (ROOT / "requirements" / "dev.txt").read_text().splitlines()
    lock = ROOT / "requirements" / "clients.txt"
    missing = [
        pin for pin in lock.read_text().splitlines() if pin not in dev_pins and not pin.startswith("#")
    ]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", "."]
    install(folder, lock, *pip, *missing)
    return folder


def install(folder: Path, lock: Path, *command: str) -> None:
    """Run the command in the folder once for each version of the lock file. Skip the test if it fails."""
    stamp = folder / "installed-lock.txt"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = (result.stderr or result.stdout).strip().splitlines()[-1:]
        pytest.skip(f"{lock.name} can't be installed: {reason}")
    stamp.write_text(lock.read_text())
