"""The folder in which a benchmark keeps the logs of the servers that it starts."""

from pathlib import Path

from .contest import ROOT


def logs_folder(bench: str) -> Path:
    """Return the folder for the logs of `internvl3 bench BENCH`. They stay, so that a failure can be read."""
    folder = ROOT / "runs" / f"bench-{bench}-logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
