"""Hash JSON values, so that it shows whether two of them say the same."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """Return a hash of a JSON value that doesn't depend on the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
