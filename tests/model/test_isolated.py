"""Workers that read what strangers send have no network and none of the operator's keys."""

import json
import os
import socket
import subprocess

import pytest

from model.isolated import isolated_command, kept_environment, leave_network

# Run by the module timeit, which runs the code that it gets as an argument.
REPORT = """
import json, os, socket
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=5).close()
    connected = True
except OSError:
    connected = False
print(json.dumps(dict(connected=connected, variables=dict(os.environ))))
"""


def can_leave() -> bool:
    """Return whether this kernel lets a child of ours leave the network."""
    child = os.fork()
    if child == 0:
        os._exit(0 if leave_network() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def report(port: int, environ: dict[str, str]) -> dict:
    command = isolated_command("timeit", "--number=1", "--repeat=1", REPORT.format(port=port))
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(ended.stdout.splitlines()[0])


def test_an_isolated_program_reaches_nobody_or_knows_that_it_could():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = report(listener.getsockname()[1], kept_environment(os.environ))
    if can_leave():
        assert not seen["connected"] and seen["variables"]["INTERNVL3_NETWORK"] == "none"
    else:
        assert seen["connected"] and seen["variables"]["INTERNVL3_NETWORK"] == "open"


def test_keys_and_tokens_are_not_passed_on(monkeypatch: pytest.MonkeyPatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "VLLM_API_KEY", "INTERNVL3_POLICY"):
        monkeypatch.setenv(name, "secret")
    kept = kept_environment(os.environ)
    assert kept["PATH"] == os.environ["PATH"]
    assert "secret" not in report(1, kept)["variables"].values()
