"""The line for an operator whose engine ended without an error."""

import pytest

from server.vllm_engine.silent_end import silent_end

FAILED = "Engine core initialization failed. See root cause above. Failed core proc(s): "


@pytest.mark.parametrize(
    ("processes", "parts"),
    [
        ("{}", ("ended without an error", "memory", "--kv-cache-gib")),
        ("{'EngineCore': -9}", ("was killed", "memory", "--critic none")),
        ("{'EngineCore_DP0': -11}", ("SIGSEGV", "--log-level debug")),
        ("{'EngineCore': 3}", ("status 3", "--log-level debug")),
    ],
)
def test_it_says_how_the_process_ended_and_what_to_change(processes: str, parts: tuple[str, ...]):
    line = silent_end(FAILED + processes)
    assert all(part in line for part in parts) and "\n" not in line
