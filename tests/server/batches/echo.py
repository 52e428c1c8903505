"""An engine that answers each question with its text, and what batches of such questions look like."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from server.engine_interface import CountTokens
from server.errors import ApiError
from server.prompts import ChooseCandidates
from server.request_media import Media
from tests.server.apps import app_with, client_of
from tests.server.fakes import FakeCritic, FakeEngine
from ttscaling.types import TokenUsage

CHAT = "/v1/chat/completions"


class EchoEngine(FakeEngine):
    """Answers with the text of the last message, counts each, and waits while `gate` isn't set.

    A cancelled request ends with an error of the client, as in vLLM.
    """

    def __init__(self, *, is_open: bool = True) -> None:
        super().__init__(["unused"], FakeCritic({"good": [0.9]}))
        self.answered: Counter[str] = Counter()
        self.refusals: dict[str, list[ApiError]] = {}  # by text: raised one after the other
        self.gate = asyncio.Event()
        self.waiting = self.most_waiting = 0
        if is_open:
            self.gate.set()

    async def complete(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> dict[str, Any]:
        text = str(body["messages"][-1]["content"])
        self.bodies.append(body)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:  # as vLLM's handler answers it
            raise ApiError("Client disconnected") from None
        finally:
            self.waiting -= 1
        count(TokenUsage(prompt=7, completion=2))
        if self.refusals.get(text):
            raise self.refusals[text].pop(0)
        self.answered[text] += 1
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        return {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def line(custom_id: str, text: str | None = None, **extra: Any) -> dict[str, Any]:
    """Return a line that asks for a text, which is its custom_id if there is no other."""
    message = {"role": "user", "content": custom_id if text is None else text}
    body = {"model": "nano", "messages": [message], **extra}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def jsonl(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in lines)


@asynccontextmanager
async def batch_client(
    folder: Path, engine: FakeEngine | None = None, **chosen: Any
) -> AsyncIterator[httpx.AsyncClient]:
    app = app_with(engine or EchoEngine(), files=folder / "files", **chosen)
    async with client_of(app) as client:
        yield client


async def new_batch(
    client: httpx.AsyncClient,
    content: bytes,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Upload a file and return a new batch of it."""
    files = {"file": ("lines.jsonl", content)}
    uploaded = await client.post("/v1/files", data={"purpose": "batch"}, files=files, headers=headers)
    assert uploaded.status_code == 200, uploaded.text
    body = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": uploaded.json()["id"], **fields}
    created = await client.post("/v1/batches", json=body, headers=headers)
    assert created.status_code == 200, created.text
    batch: dict[str, Any] = created.json()
    return batch


async def until(
    client: httpx.AsyncClient,
    batch: Mapping[str, Any],
    *statuses: str,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the batch once it has one of these statuses; by default once it has ended."""
    wanted = statuses or ("completed", "failed", "expired", "cancelled")
    while True:
        reply = await client.get(f"/v1/batches/{batch['id']}", headers=headers)
        found: dict[str, Any] = reply.json()
        if found["status"] in wanted:
            return found
        await asyncio.sleep(0.02)


async def records(
    client: httpx.AsyncClient, file_id: str | None, headers: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the lines of a file of results; without a file there are none."""
    if file_id is None:
        return []
    reply = await client.get(f"/v1/files/{file_id}/content", headers=headers)
    return [json.loads(entry) for entry in reply.content.splitlines()]
