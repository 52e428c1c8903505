"""A chat server whose answers have steps that are drawn by the request's seed."""

import base64
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.clients.chat_server import SETUP, Reply, chat_server
from ttscaling.asking.address import DEFAULT_URL
from ttscaling.steps import SEPARATOR

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
STEPS = 3
RIGHT = "7"


class PolicyServer:
    """A server that keeps the requests; `fails(number, body)` may return a status to answer instead."""

    def __init__(self, fails: Any = lambda number, body: None, *, continues: bool = True) -> None:
        self.url = DEFAULT_URL
        self.answered: list[dict[str, Any]] = []
        self.num_requests = 0
        self._fails = fails
        self._continues = continues

    @contextmanager
    def running(self, setup: Mapping[str, Any] = SETUP) -> Iterator["PolicyServer"]:
        with chat_server(self._reply, setup=setup) as self.url:
            yield self

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of answered requests, without those of the check at the start."""
        return [body for body in self.answered if body.get("max_tokens") != 1]

    @property
    def begun(self) -> list[str]:
        """The beginnings that were to be continued with the image in view, in order."""
        return [begun_of(body) for body in self.bodies if begun_of(body) and _shows_image(body)]

    def _reply(self, body: dict[str, Any]) -> Reply:
        self.num_requests += 1
        status = self._fails(self.num_requests, body)
        if status is not None:
            return Reply({"error": {"message": "not now"}}, status)
        self.answered.append(body)
        texts = [written(body, number) for number in range(body.get("n", 1))]
        choices = [
            {"index": index, "message": {"content": text}, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ]
        words = sum(len(str(message["content"]).split()) + 2 for message in body["messages"])
        opened = self._continues and body.get("continue_final_message")
        usage = {
            "prompt_tokens": words if opened else words + 3,
            "completion_tokens": sum(len(text.split()) for text in texts),
            "prompt_tokens_details": {"cached_tokens": words // 2},
        }
        return Reply({"choices": choices[::-1], "usage": usage})


def begun_of(body: Mapping[str, Any]) -> str:
    """Return the beginning of an answer that a request holds, or nothing."""
    last = body["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


def written(body: Mapping[str, Any], index: int) -> str:
    """Return the text of a choice; there are few different steps, so that solutions share them."""
    draw = random.Random(body.get("seed", 0) + index)
    begun = begun_of(body)
    if begun and not _shows_image(body):
        return " and so I guess"
    steps = [f"step {number} is {draw.choice('ab')}" for number in range(1, STEPS)]
    steps.append(f"Final answer: {draw.choice([RIGHT, RIGHT, '8'])}")
    missing = steps[begun.count(SEPARATOR) + 1 :] if begun else steps
    return (SEPARATOR if begun else "") + SEPARATOR.join(missing)


def _shows_image(body: Mapping[str, Any]) -> bool:
    return isinstance(body["messages"][0]["content"], list)
