"""The peers' packages that our environment can't hold, in a folder of their own."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from .contest import ROOT

PEERS = ROOT / "runs" / "bench-peers"
REQUIREMENTS = ROOT / "requirements" / "bench.txt"


def install_peers(console: Console) -> Path:
    """The folder with the packages of requirements/bench.txt, installed on first use and after a change.

    If that fails, pip's reason is printed, and the peers that miss their package will say so themselves.
    """
    stamp = PEERS / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return PEERS
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    command = [*pip, "--target", str(PEERS), "-r", str(REQUIREMENTS)]
    with console.status(f"installing the peers' packages into {PEERS.relative_to(ROOT)}"):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        stamp.write_text(wanted)
    else:
        console.print(f"The peers' packages could not be installed:\n{result.stderr}", markup=False)
    return PEERS
