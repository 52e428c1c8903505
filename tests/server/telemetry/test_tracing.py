"""Traces arrive at a real receiver, belong together, and hold nothing of what clients send."""

import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncGenerator
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from server.telemetry.tracing import CURRENT_TRACE, Tracing, start_tracing
from server.vllm_engine.policy_metrics import PolicyMetrics
from server.vllm_engine.token_accounts import MeteredClient
from tests.otlp_receiver import attributes, receiving
from tests.server.apps import app_with, client_of, question
from tests.server.fakes import FakeCritic, FakeEngine
from ttscaling.types import TokenUsage

CHAT = "/v1/chat/completions"
TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "hush4711"


def picture() -> str:
    """Return an image as a data: URL."""
    file = BytesIO()
    Image.new("RGB", (60, 60)).save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


async def test_spans_of_a_request_continue_the_clients_trace():
    engine = FakeEngine([SECRET], FakeCritic({SECRET: [0.5]}))
    content = [{"type": "image_url", "image_url": {"url": picture()}}, {"type": "text", "text": SECRET}]
    body = question(messages=[{"role": "user", "content": content}], best_of=2)
    headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "X-Request-Id": "mine"}
    with receiving() as receiver:
        async with client_of(app_with(engine, otlp_endpoint=receiver.url)) as client:
            assert (await client.post(CHAT, json=body, headers=headers)).status_code == 200
            assert (await client.post(CHAT, json=question(n=SECRET))).status_code == 400
            assert (await client.get("/readyz")).status_code == 200
    assert set(receiver.paths) == {"/v1/traces"} and set(receiver.services) == {"internvl3-serving"}
    first, refused = sorted(receiver.named(f"POST {CHAT}"), key=lambda span: span.start_time_unix_nano)
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert attributes(first)["http.response.status_code"] == 200
    assert attributes(first)["internvl3.request_id"] == "mine"
    assert attributes(first)["gen_ai.request.model"] == "nano"
    for name in ("fetch", "decode", "score"):
        spans = receiver.named(name)
        assert spans and {span.parent_span_id for span in spans} == {first.span_id}
        assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    assert attributes(refused)["error.type"] == "invalid_value" and not refused.parent_span_id
    assert {span.name for span in receiver.spans} == {f"POST {CHAT}", "fetch", "decode", "score"}
    assert SECRET not in str(receiver.spans)


class Client:
    """vLLM's client, whose engine reads a prompt and writes three tokens."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.count: Any = None

    async def generate(
        self, prompt: Any, params: Any, name: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        self.options = options
        for usage in (TokenUsage(prompt=7, cached=3, completion=1), TokenUsage(completion=2)):
            self.count(usage)
        yield SimpleNamespace(finished=True, outputs=[SimpleNamespace(finish_reason="stop")])


@pytest.mark.parametrize("is_traced", [True, False])
async def test_spans_of_a_generation(is_traced):
    client = Client()

    class Accounts:
        def counting(self, request_id: str, count: Any) -> Any:
            from contextlib import nullcontext

            client.count = count
            return nullcontext(request_id)

    counted: list[TokenUsage] = []
    accounts: Any = Accounts()
    metered = MeteredClient(client, accounts, PolicyMetrics(CollectorRegistry()), "candidate", counted.append)
    with receiving() as receiver:
        tracing = Tracing(receiver.url)
        request = tracing.begin_request("POST", {})
        token = CURRENT_TRACE.set(request.trace if is_traced else None)
        async for _ in metered.generate({}, SimpleNamespace(n=1), "a"):
            pass
        CURRENT_TRACE.reset(token)
        request.end()
        tracing.close()
    assert len(counted) == 2
    if not is_traced:
        assert client.options == {} and len(receiver.spans) == 1
        return
    (prefill,), (generate,) = receiver.named("prefill"), receiver.named("generate")
    (parent,) = receiver.named("POST")
    assert prefill.parent_span_id == generate.parent_span_id == parent.span_id
    assert attributes(prefill) == {"kind": "candidate", "prompt_tokens": 7, "cached_tokens": 3}
    assert attributes(generate) == {"kind": "candidate", "completion_tokens": 3}
    assert client.options["trace_headers"]["traceparent"].split("-")[1] == parent.trace_id.hex()


def test_traces_are_off_unless_a_receiver_is_named():
    assert start_tracing(None, {}) is None
    assert start_tracing(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}) is None
    assert start_tracing("http://127.0.0.1:1", {"OTEL_SDK_DISABLED": "true"}) is None
    named = start_tracing(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert named is not None
    named.close()


def test_nothing_of_opentelemetry_is_loaded_then():
    code = """
import sys
from server.http.app import create_app
from server.settings import Settings
create_app(Settings(), None)
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
