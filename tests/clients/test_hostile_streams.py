"""Whatever bytes a server streams, the client gives events or one of its own errors, and nothing else."""

import json
from typing import Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clients.sdk.boxes import SCALE, boxes_in
from clients.sdk.client import Client
from clients.sdk.errors import ClientError

NAMES = (
    *("choices", "index", "delta", "content", "tool_calls", "function", "name", "arguments", "finish_reason"),
    *("error", "message", "usage", "vision", "test_time_scaling", "logprobs", "id", "candidates", "role"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
CHUNKS = st.fixed_dictionaries({"choices": VALUES}) | st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"index": VALUES, "delta": VALUES, "finish_reason": VALUES}))}
)


def read(content: bytes) -> None:
    """Read a stream as a program would, all of it and its answer."""

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=content)

    with Client(transport=httpx.MockTransport(reply)) as client:
        stream = client.stream_ask("q")
        try:
            for event in stream:
                assert repr(event)
            answer = stream.answer
        except ClientError:
            return
        assert isinstance(answer.text, str) and isinstance(answer.texts, list)
        assert (
            answer.tool_calls,
            answer.candidates,
            answer.votes,
            answer.step_scores,
            answer.boxes,
        ) is not None


@settings(max_examples=300)
@given(st.lists(CHUNKS, max_size=3))
@example([{"choices": [{"index": 1e400, "delta": {}}]}])
@example([{"choices": [{"index": 0, "delta": {"content": 7, "tool_calls": 7}}]}])
def test_chunks_of_any_shape(chunks: list[dict[str, Any]]) -> None:
    read(
        "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in [*chunks, {"choices": []}]).encode()
        + b"data: [DONE]\n\n"
    )


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"data:", b": ", b"\n", b"\r", b"{", b"[DONE]"])))
@example([b"data: " + b"[" * 100_000 + b"\n\n"])
def test_bytes_of_any_kind(pieces: list[bytes]) -> None:
    read(b"".join(pieces))


@given(st.text(alphabet="<>/boxref[], .-0123456789", max_size=80))
def test_boxes_lie_within_the_image(text: str) -> None:
    for box in boxes_in(f"<box>{text}</box>"):
        assert 0 <= box.left <= box.right <= SCALE and 0 <= box.top <= box.bottom <= SCALE
