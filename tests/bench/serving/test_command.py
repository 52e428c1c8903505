"""`internvl3 bench serving` without engines, on a server that answers at once and stands for both servers."""

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.harness.contest import Sample, System, measure
from bench.serving.command import OURS, PEER, rows
from bench.serving.servers import KEY
from bench.serving.systems import SIZES

SYSTEMS = [System(OURS, "bench.serving.systems:Ours"), System(PEER, "bench.serving.systems:VllmServe")]
EVENTS = 'data: {"choices":[{"delta":{"content":""}}]}\n\ndata: {"choices":[{"delta":{"content":"7"}}]}\n\n'


@pytest.fixture
def upstream() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The address of a server that streams one token, and the chat bodies that it has received."""
    bodies: list[Mapping[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(b"{}")

        def do_POST(self) -> None:
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._reply(EVENTS.encode())

        def log_message(self, *_: Any) -> None:
            """Write no log."""

        def _reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def case(url: str, kind: str) -> dict[str, Any]:
    return {"kind": kind, "in_flight": 2, "requests": 3, "servers": {OURS: url, PEER: url}}


@pytest.mark.parametrize("kind", SIZES)
def test_both_servers_get_the_same_requests_and_none_twice(
    upstream: tuple[str, list[Mapping[str, Any]]], kind: str
) -> None:
    url, bodies = upstream
    samples, failures = measure(SYSTEMS, {kind: case(url, kind)}, repeats=1)
    assert failures == {}
    assert {sample.system for sample in samples} == {OURS, PEER}
    assert all(sample.result["first_token_ms"] > 0 for sample in samples)
    texts = [json.dumps(body) for body in bodies]
    assert len(bodies) == 2 * 2 * 3  # a turn that isn't measured, and one that is
    assert sorted(texts[:6]) == sorted(texts[6:]) and len(set(texts)) == 6
    assert all(("image_url" in text) == (kind != "text") for text in texts)


def test_a_refused_request_fails_the_system(upstream: tuple[str, list[Mapping[str, Any]]]) -> None:
    url, _ = upstream
    servers = {OURS: url, PEER: f"{url}0"}  # nothing listens there
    _, failures = measure(SYSTEMS, {"text": {**case(url, "text"), "servers": servers}}, repeats=1)
    assert list(failures) == [PEER]


def test_rows_have_the_median_rate() -> None:
    first = {"first_token_ms": 5.0, "silence_ms": 2.0}
    samples = [
        Sample(OURS, "a", 1, repeat, 0.0, seconds, 0.0, 0.0, None if repeat else first)
        for repeat, seconds in enumerate((2.0, 4.0, 100.0))
    ]
    (row,) = rows(samples, {"a": {"requests": 8}}, {"a": 1.5})
    assert row == {"case": "a", "system": OURS, "requests_per_second": 2.0, **first, "ratio": 1.5}


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [("--in-flight", "0", "write numbers from 1"), ("--kinds", "sound", "none of text")],
)
def test_options_are_checked_before_anything_starts(option: str, value: str, problem: str) -> None:
    result = CliRunner().invoke(app, ["serving", option, value])
    assert result.exit_code == 2
    assert problem in " ".join(result.output.replace("│", "").split())
