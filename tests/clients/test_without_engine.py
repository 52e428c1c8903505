"""The library's tests pass where neither the engine, nor the server, nor their packages are installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BLOCKING = "import tests.clients.blocked_modules\n"


def python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKING + code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_tests_of_the_library_pass() -> None:
    pytest = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "tests.clients.blocked_modules"]
    folders = ["tests/clients/sdk", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:random_order"]
    result = subprocess.run([*pytest, *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout


def test_the_command_answers_or_says_what_is_missing() -> None:
    helped = python("from clients.cli import main; main(['ask', '--help'])")
    assert helped.returncode == 0 and "internvl3 ask" in helped.stdout, helped.stderr
    refused = python("from clients.cli import main; main(['serve'])")
    assert refused.returncode == 1 and "needs the Python package" in refused.stderr


def test_what_is_blocked_is_really_missing() -> None:
    for name in ("torch", "server.settings", "vllm"):
        assert "ModuleNotFoundError" in python(f"import {name}").stderr
