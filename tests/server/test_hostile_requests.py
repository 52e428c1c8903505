"""No single request stops the real server or keeps its probes from being answered.

Each test prints the status, the seconds, the longest time between two answers of /livez and the growth of the
server's memory: `pytest -s tests/server/test_hostile_requests.py`.
"""

import asyncio
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.running import RunningServer
from tests.server.vllm_engine.grammars.test_checker import chained

pytestmark = pytest.mark.engine

CHAT, SCORE = "/v1/chat/completions", "/v1/critic/score"
USER = [{"role": "user", "content": "How many?"}]


def formatted(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chat body whose answer has to be JSON of this schema."""
    wanted = {"type": "json_schema", "json_schema": {"name": "wanted", "schema": schema}}
    return {"model": "nano", "messages": USER, "max_tokens": 4, "response_format": wanted, **more}


def branching(levels: int, branches: int) -> dict[str, Any]:
    """A schema of so many levels, each of which may go on in so many ways."""
    definitions: dict[str, Any] = {
        f"l{level}": {"anyOf": [{"$ref": f"#/$defs/l{level + 1}"}] * branches} for level in range(levels)
    }
    return {"$defs": definitions | {f"l{levels}": {"type": "object"}}, "$ref": "#/$defs/l0"}


def structured(elements: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A chat body whose answer has to be this sequence of structural tags."""
    wanted = {"type": "structural_tag", "format": {"type": "sequence", "elements": elements}}
    return {"model": "nano", "messages": USER, "max_tokens": 4, "response_format": wanted, **more}


def tagged(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chat body whose answer has to be JSON of this schema between two tags."""
    content = {"type": "json_schema", "json_schema": schema}
    return structured([{"type": "tag", "begin": "<a>", "content": content, "end": "</a>"}], **more)


def chained_tool() -> list[dict[str, Any]]:
    parameters = chained(5000, type="object")
    return [{"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}]


def tools(count: int, properties: int) -> list[dict[str, Any]]:
    """So many tools with so many parameters each."""
    parameters = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(properties)}}
    return [
        {"type": "function", "function": {"name": f"tool{n}", "parameters": parameters}} for n in range(count)
    ]


WORDS = {"enum": [f"word {number:07d}" for number in range(100_000)]}
HOSTILE: dict[str, tuple[str, Any, set[int]]] = {
    "5,000 objects in a chain": (CHAT, formatted(chained(5000, type="object")), {400}),
    "5,000 objects, streamed": (CHAT, formatted(chained(5000, type="object"), stream=True), {400}),
    "5,000 objects, Best-of-2": (CHAT, formatted(chained(5000, type="object"), best_of=2), {400}),
    "5,000 objects in a structural tag": (CHAT, tagged(chained(5000, type="object")), {400}),
    "20,000 references in a structural tag": (CHAT, tagged(chained(20_000), stream=True), {400}),
    "5,000 objects in a structural tag of vLLM's field": (
        CHAT,
        {
            "messages": USER,
            "structured_outputs": {
                "structural_tag": json.dumps(tagged(chained(5000, type="object"))["response_format"])
            },
        },
        {400},
    ),
    "a structural tag of 20,000 texts": (
        CHAT,
        structured([{"type": "const_string", "value": str(n)} for n in range(20_000)]),
        {400},
    ),
    "5,000 objects as a forced tool": (
        CHAT,
        {"messages": USER, "max_tokens": 4, "tool_choice": "required", "tools": chained_tool()},
        {400},
    ),
    "5,000 objects as a tool": (
        CHAT,
        {"messages": USER, "max_tokens": 4, "tool_choice": "auto", "tools": chained_tool()},
        {200, 400},
    ),
    "20,000 references in a chain": (CHAT, formatted(chained(20_000)), {400}),
    "100,000 words": (CHAT, formatted(WORDS), {400}),
    "ten branches, seven levels": (CHAT, formatted(branching(7, 10)), {200, 400}),
    "ten branches, seven levels, Best-of-2": (CHAT, formatted(branching(7, 10), best_of=2), {200, 400}),
    "regex": (
        CHAT,
        {"messages": USER, "max_tokens": 4, "structured_outputs": {"regex": "(" * 5000 + ")" * 5000}},
        {400},
    ),
    "64 answers of 4,000 paragraphs": (SCORE, {"messages": USER, "answers": ["a\n\n" * 4000] * 64}, {400}),
    "an answer of 8,000 paragraphs": (SCORE, {"messages": USER, "answers": ["a\n\n" * 8000]}, {400}),
    "64 answers of 500 paragraphs": (
        SCORE,
        {"messages": USER, "answers": ["a\n\n" * 500] * 64},
        {200, 400, 503},
    ),
    "300 tools of 1,000 properties": (
        CHAT,
        {"messages": USER, "best_of": 2, "tool_choice": "none", "tools": tools(300, 1000), "max_tokens": 4},
        {400, 413},
    ),
    "100 tools of 500 properties": (
        CHAT,
        {"messages": USER, "best_of": 2, "tool_choice": "auto", "tools": tools(100, 500), "max_tokens": 4},
        {200, 400},
    ),
    "100 tools of 500 properties, none to be called": (
        CHAT,
        {"messages": USER, "best_of": 2, "tool_choice": "none", "tools": tools(100, 500), "max_tokens": 4},
        {200, 400},
    ),
    "13 million empty lists": (CHAT, b'{"messages":[' + b"[]," * 13_000_000 + b"[]]}", {413}),
    "a request id of a megabyte": (
        CHAT,
        {"messages": USER, "max_tokens": 4, "request_id": "x" * 2**20},
        {200},
    ),
}


def memory_mib(server: RunningServer) -> float:
    """Resident memory of the server's own process, in MiB."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kib) / 1024


async def watch(client: httpx.AsyncClient, done: asyncio.Event) -> list[float]:
    """When /livez answered, asked every 20 ms until `done` is set."""
    answered = [time.monotonic()]
    while not done.is_set():
        assert (await client.get("/livez")).status_code == 200
        answered.append(time.monotonic())
        await asyncio.sleep(0.02)
    return answered


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_request(server: RunningServer, client: httpx.AsyncClient, name: str):
    path, body, statuses = HOSTILE[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    before, done = memory_mib(server), asyncio.Event()
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as probes:
        watching = asyncio.create_task(watch(probes, done))
        begun = time.monotonic()
        reply = await client.post(path, content=content, headers={"content-type": "application/json"})
        seconds = time.monotonic() - begun
        done.set()
        answered = await watching
    silence = max((later - earlier for earlier, later in pairwise(answered)), default=0)
    print(
        f"\n{name}: status {reply.status_code}, {seconds:.2f} s, /livez silent for {silence:.2f} s at most, "
        f"memory +{memory_mib(server) - before:.0f} MiB"
    )
    assert reply.status_code in statuses, reply.text[:300]
    if reply.status_code != 200:
        assert reply.json()["error"]["message"]
    assert len(answered) > 1, "the probe was answered while the request was worked on"
    assert memory_mib(server) - before < 1500
    ordinary = await client.post(CHAT, json={"model": "nano", "messages": USER, "max_tokens": 4})
    assert ordinary.status_code == 200, ordinary.text
