"""`internvl3 bench tts` without engines, on a server that answers at once and stands for all servers."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.harness.contest import Sample, System, measure
from bench.harness.prometheus_text import total
from bench.tts.command import OURS, PEERS, PEERS_FOLDER, STOPPING, rows
from bench.tts.servers import cpu_seconds

METRICS = """# TYPE http_requests_total counter
http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"} 5.0
http_requests_total{handler="/metrics",method="GET",status="2xx"} 70.0
vllm:prompt_tokens_total{engine="0",model_name="nano"} 100.0
vllm:prompt_tokens_total{engine="0",model_name="nano-critic"} 1e+02
vllm:prompt_tokens_cached_total{engine="0",model_name="nano"} 60.0
http_request_size_bytes_sum{handler="/v1/chat/completions"} 4096.0
"""
SAMPLE = Sample(
    OURS,
    "N = 8",
    1,
    0,
    9.0,
    16.0,
    0.0,
    0.0,
    {"cpu_seconds": 2.0, "requests": 1.0, "bytes": 2048.0, "tokens": 9.0, "right": 0.5},
)


@pytest.fixture
def upstream() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The address of a server whose candidates all state 7, and the bodies that it has received."""
    bodies: list[Mapping[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(METRICS.encode())

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            label = {"token": "+", "logprob": -0.1}
            top = [label, {"token": "-", "logprob": -0.1 - len(bodies)}]
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": f"{len(bodies)}\n\nFinal answer: 7"},
                "logprobs": {"content": [{**label, "top_logprobs": top}]},
            }
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self._reply(json.dumps({"choices": [choice], "usage": usage}).encode())

        def log_message(self, *_: Any) -> None:
            """Write no log."""

        def _reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def case(url: str) -> dict[str, Any]:
    servers = {name: (url, os.getpid()) for name in ("ours", "policy", "critic")}
    return {"n": 4, "concurrency": 2, "questions": 3, "servers": servers}


def test_ours_sends_each_question_once(upstream: tuple[str, list[Mapping[str, Any]]]) -> None:
    url, bodies = upstream
    (sample,), failures = measure(
        [System(OURS, "bench.tts.systems:Ours")], {"a": case(url)}, repeats=1, fresh=True
    )
    assert failures == {}
    assert len(bodies) == 3
    assert {body["test_time_scaling"]["n"] for body in bodies} == {4}
    assert len({str(body["messages"]) for body in bodies}) == 3
    assert sample.result["requests"] == 1.0
    assert sample.result["bytes"] > 1000  # The request holds the image.
    assert sample.result["tokens"] == 0.0  # The counters of this server never change.


@pytest.mark.skipif(
    not PEERS_FOLDER.exists(), reason="no its_hub: `internvl3 bench tts` installs it into runs"
)
def test_its_hub_sends_the_image_with_each_candidate_and_each_step(
    upstream: tuple[str, list[Mapping[str, Any]]],
) -> None:
    url, bodies = upstream
    system = System("its_hub", PEERS["its_hub"], (PEERS_FOLDER,))
    _, failures = measure([system], {"a": case(url)}, repeats=1, fresh=True)
    assert failures == {}
    critic_bodies = [body for body in bodies if body.get("logprobs")]
    assert len(bodies) - len(critic_bodies) == 3 * 4
    assert len(critic_bodies) == 3 * 4 * 2
    assert all("image_url" in str(body["messages"]) for body in bodies)


def test_ours_may_stop_early(upstream: tuple[str, list[Mapping[str, Any]]]) -> None:
    url, bodies = upstream
    system = System(STOPPING, "bench.tts.systems:OursStopping")
    _, failures = measure([system], {"a": case(url)}, repeats=1, fresh=True)
    assert failures == {}
    assert {body["test_time_scaling"]["stop_score"] for body in bodies} == {0.9}


def test_every_turn_has_questions_of_its_own(upstream: tuple[str, list[Mapping[str, Any]]]) -> None:
    url, bodies = upstream
    measure([System(OURS, "bench.tts.systems:Ours")], {"a": case(url)}, repeats=2)
    assert len(bodies) == 3 * 3  # The system had a first turn that isn't measured.
    assert len({str(body["messages"]) for body in bodies}) == 9


def test_metrics_are_summed_over_models() -> None:
    assert total(METRICS, "vllm:prompt_tokens_total") == 200
    assert total(METRICS, "http_requests_total", handler="/v1/chat/completions") == 5
    assert total(METRICS, "http_request_size_bytes_sum") == 4096
    assert total(METRICS, "vllm:generation_tokens_total") == 0


def test_cpu_time_is_that_of_a_process_and_its_descendants(tmp_path: Path) -> None:
    for pid, parent, ticks in ((10, 1, 100), (20, 10, 30), (30, 20, 5), (11, 1, 1000)):
        (tmp_path / str(pid)).mkdir()
        fields = ["S", parent, *[0] * 9, ticks, ticks, *[0] * 5]
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b) {' '.join(map(str, fields))}")
    assert cpu_seconds(10, tmp_path) * os.sysconf("SC_CLK_TCK") == pytest.approx(2 * 135)


def test_rows_are_per_answer() -> None:
    (row,) = rows([SAMPLE], {"N = 8": 2.5}, questions=8)
    assert (row["seconds"], row["kib_sent"], row["cpu_s"], row["ratio"]) == (2.0, 2.0, 2.0 + 9 / 8, 2.5)


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--n", "0", "write numbers from 1"),
        ("--n", "4,x", "write numbers from 1"),
        ("--concurrency", "", "write numbers from 1"),
        ("--peers", "nobody", "choose from its_hub, optillm"),
    ],
)
def test_options_are_checked_before_anything_starts(option: str, value: str, problem: str) -> None:
    result = CliRunner().invoke(app, ["tts", option, value])
    assert result.exit_code == 2
    assert problem in " ".join(result.output.replace("│", "").split())
