"""Answer paid requests from the ledger, or else by a server, and keep every reply before anybody sees it."""

import asyncio
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from clients.video_jobs.ledger.ledger import Ledger
from clients.video_jobs.questions import PaidRequest

from .failures import Failure, RequestFailed
from .sending import MOST_TRIES, send, stage_of
from .servers import Server, Servers


@dataclass
class ItemAsker:
    """The asker of one item. It counts the requests, and keeps the last line of the ledger for an answer."""

    work: "PaidWork"
    item: str
    video: str
    sent: int = 0
    reused: int = 0
    last: Mapping[str, Any] = field(default_factory=dict)

    async def __call__(self, request: PaidRequest) -> Mapping[str, Any]:
        """Return the reply's JSON, from the ledger if it is there. Raises RequestFailed and RunEnds."""
        step, is_new = await self.work.step(self.item, self.video, request)
        self.sent += is_new
        self.reused += not is_new
        if stage_of(request) == "answer" or not self.last:
            self.last = step
        reply: Mapping[str, Any] = step["reply"]
        return reply


class PaidWork:
    """All paid requests of a run, of which at most `concurrency` are at the servers at a time.

    A request that was sent is finished and kept, also if nobody waits for its reply any more.
    """

    def __init__(self, ledger: Ledger, servers: Servers, *, concurrency: int, patience: float) -> None:
        self._ledger, self._servers, self._patience = ledger, servers, patience
        self._slots = asyncio.Semaphore(concurrency)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._under_way: set[asyncio.Task[httpx.Response]] = set()

    def asker(self, item: str, video: str) -> ItemAsker:
        """Return the asker of an item."""
        return ItemAsker(self, item, video)

    @property
    def requests_under_way(self) -> int:
        """How many requests are at the servers now."""
        return len(self._under_way)

    async def step(self, item: str, video: str, request: PaidRequest) -> tuple[Mapping[str, Any], bool]:
        """Return the ledger's line with the reply to a request, and whether it was sent for this.

        Two items that ask for the same at the same time pay once. Raises RequestFailed and RunEnds.
        """
        lock = self._locks.setdefault(request.key, asyncio.Lock())
        async with lock:
            known = self._ledger.step_of(request.key)
            if known is not None:
                return known, False
            for _ in range(MOST_TRIES):
                response = await send(
                    request,
                    video,
                    self._servers,
                    lambda server: self._post(item, request, server),
                    patience=self._patience,
                )
                known = self._ledger.step_of(request.key)
                if known is not None:
                    return known, True
            raise RequestFailed(_useless(request, response))

    async def drain(self) -> None:
        """Wait for the requests that are at the servers, whose replies are kept."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _post(self, item: str, request: PaidRequest, server: Server) -> httpx.Response:
        """Send a request once, and keep its reply. Whoever waits for this may leave."""
        await self._slots.acquire()
        task = asyncio.create_task(self._post_and_keep(item, request, server))
        self._under_way.add(task)
        task.add_done_callback(self._note_end)
        return await asyncio.shield(task)

    def _note_end(self, task: asyncio.Task[httpx.Response]) -> None:
        self._under_way.discard(task)
        self._slots.release()
        if not task.cancelled():
            task.exception()  # it was told to whoever waited, if anybody did

    async def _post_and_keep(self, item: str, request: PaidRequest, server: Server) -> httpx.Response:
        response = await server.post(f"/{request.path}", request.body)
        if response.is_success:
            reply = json_object(response)
            if reply is not None and is_useful(request, reply):
                request_id = response.headers.get("x-request-id")
                self._ledger.step(
                    item, request.key, request.purpose, reply, request_id=request_id, server=server.url
                )
        return response


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """Return the JSON object in a reply, or None if there is none."""
    try:
        reply = response.json()
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def is_useful(request: PaidRequest, reply: Mapping[str, Any]) -> bool:
    """Return whether a reply holds what was asked for: scores, log-probabilities, tool calls or some text."""
    if "answers" in request.body:
        return bool(reply.get("scores"))
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        return bool(
            choice.get("logprobs") or message.get("tool_calls") or (message.get("content") or "").strip()
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def _useless(request: PaidRequest, response: httpx.Response) -> Failure:
    reply = json_object(response)
    is_empty = reply is not None and "choices" in reply
    kind, message = (
        ("empty_answer", f"the server answered with an empty text, {MOST_TRIES} times")
        if is_empty
        else (
            "bad_reply",
            "the reply is no chat completion: check that an OpenAI-compatible server runs there",
        )
    )
    request_id = response.headers.get("x-request-id")
    return Failure(stage_of(request), kind, message, response.status_code, request_id, retryable=True)
