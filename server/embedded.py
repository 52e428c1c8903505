"""Find the checkpoints that come with the package model."""

from importlib.util import find_spec
from pathlib import Path


def embedded_checkpoint(role: str) -> str:
    """Return the folder of nano's "policy" or "critic", without importing `model`."""
    spec = find_spec("model")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "nano" / role)
