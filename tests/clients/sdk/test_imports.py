"""The library loads only what it needs: importing it is quick, and works where nothing else is installed."""

import subprocess
import sys

# Whatever one of these brings would make the import slow, or is not installed beside the library.
HEAVY = {"torch", "vllm", "transformers", "numpy", "PIL", "openai", "fastapi", "starlette", "uvicorn"}
HEAVY |= {"server", "model", "ttscaling", "bench", "typer", "av", "sqlalchemy", "opentelemetry", "numba"}
OURS = {"clients", "httpx", "pydantic"}


def test_the_library_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import clients.sdk; print(*set(sys.modules) - before)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in shown.split()}
    assert loaded & HEAVY == set()
    assert loaded >= OURS
    assert "clients.commands" not in shown
