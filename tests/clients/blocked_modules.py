"""A pytest plugin: it lets nothing be imported that isn't installed beside the client library.

pytest --noconftest -p tests.clients.blocked_modules tests/clients/sdk
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

BLOCKED = {"torch", "vllm", "transformers", "numpy", "fastapi", "starlette", "uvicorn", "openai", "av"}
BLOCKED |= {"server", "ttscaling", "model", "bench"}


class Blocker:
    """Raises ModuleNotFoundError for these packages, as Python does where they aren't installed."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


assert not BLOCKED & set(sys.modules), "it must be loaded before the packages that it blocks"
sys.meta_path.insert(0, Blocker)
