"""The published files of the model family, for tests that compare with them where a machine has them."""

from pathlib import Path

import pytest


def published(name: str) -> Path:
    """Return a folder or a file of the collection, such as `InternVL3-8B`. Without it the test is skipped."""
    path = Path(__file__).parents[2] / "shared/published" / name
    if not path.exists():
        pytest.skip(f"this machine has no ../shared/published/{name}")
    return path
