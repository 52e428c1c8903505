"""Ask services of Best-of-N questions about images, for `internvl3 bench tts`.

All sample from the same policy with the same settings (SAMPLING), and no candidate is greedy. Each turn asks
questions that are new to the system, and all systems get the same questions.
"""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx

from ttscaling.answers.final_answer import final_answer
from ttscaling.answers.grading import is_right
from ttscaling.nano_tasks.problems import Problem, heldout

from .servers import Counts

SAMPLING = {"temperature": 1.0, "max_tokens": 256}
TIMEOUT = 1800.0
POLICY, CRITIC = "nano", "nano-critic"  # Our server gives them these names.


@dataclass(frozen=True)
class Turn:
    """The questions of a turn, and the servers' counters since before it."""

    case: Mapping[str, Any]
    problems: Sequence[Problem]
    counts: Counts


Ask = Callable[[list[dict[str, Any]]], Awaitable[str]]
"""Takes the messages of a conversation and returns its best answer."""


class BestOfNService:
    """A service that answers the questions of a turn by Best-of-N.

    `names` are the servers that work for it. The first `counting` of them count tokens and requests.
    """

    names: tuple[str, ...]
    counting: int

    def __init__(self) -> None:
        self._turns = 0

    def asking(self, case: Mapping[str, Any]) -> AbstractAsyncContextManager[Ask]:
        """Return a context that yields the function which asks for the best of `case["n"]` answers."""
        raise NotImplementedError

    def prepare(self, case: Mapping[str, Any]) -> Turn:
        self._turns += 1
        servers = [case["servers"][name.format(n=case["n"])] for name in self.names]
        urls, pids = zip(*servers, strict=True)
        problems = list(heldout(case["questions"], seed=1000 + self._turns))
        return Turn(case, problems, Counts(urls[: self.counting], pids))

    def work(self, turn: Turn) -> tuple[Turn, list[str]]:
        return turn, asyncio.run(self._answers(turn))

    def summary(self, result: tuple[Turn, list[str]]) -> dict[str, float]:
        """Return the turn's counts, and how many answers are right, both per answer."""
        turn, texts = result
        answers = [(final_answer(text), problem) for text, problem in zip(texts, turn.problems, strict=True)]
        right = sum(is_right(stated, problem.answer) for stated, problem in answers)
        return {name: value / len(texts) for name, value in {**turn.counts.since(), "right": right}.items()}

    async def _answers(self, turn: Turn) -> list[str]:
        limit = asyncio.Semaphore(turn.case["concurrency"])
        async with self.asking(turn.case) as ask:

            async def answer(problem: Problem) -> str:
                async with limit:
                    return await ask(_messages(problem))

            return list(await asyncio.gather(*(answer(problem) for problem in turn.problems)))


class Ours(BestOfNService):
    """Our server, which takes one request for an answer."""

    names = ("ours",)
    counting = 1
    rule: Mapping[str, float] = MappingProxyType({})

    def __init__(self) -> None:
        super().__init__()
        self._sent_bytes: list[int] = []

    @asynccontextmanager
    async def asking(self, case: Mapping[str, Any]) -> AsyncIterator[Ask]:
        scaling = {"n": case["n"], "include_greedy": False, **self.rule}
        self._sent_bytes = []

        async def ask(messages: list[dict[str, Any]]) -> str:
            body = {"model": POLICY, "messages": messages, "test_time_scaling": scaling, **SAMPLING}
            response = await client.post("chat/completions", json=body)
            self._sent_bytes.append(len(response.request.content))
            return content_of(response)

        async with client_of(case["servers"]["ours"]) as client:
            yield ask

    def summary(self, result: tuple[Turn, list[str]]) -> dict[str, float]:
        """Return the counts per answer; our server counts no bytes, so those of the requests are taken."""
        counts = super().summary(result)
        return counts | {"requests": 1.0, "bytes": sum(self._sent_bytes) / len(self._sent_bytes)}


class OursStopping(Ours):
    """Our server with `stop_score`, which ends the other candidates once one scores high enough."""

    rule = MappingProxyType({"stop_score": 0.9})


def client_of(server: tuple[str, int]) -> httpx.AsyncClient:
    """Return a client of a server's OpenAI endpoints."""
    return httpx.AsyncClient(base_url=f"{server[0]}/v1/", timeout=TIMEOUT)


def content_of(response: httpx.Response) -> str:
    """Return the answer's text. Raises RuntimeError with the server's message if the request failed."""
    if response.is_error:
        raise RuntimeError(f"HTTP {response.status_code}: {response.text[:200]}")
    return response.json()["choices"][0]["message"]["content"] or ""


def _messages(problem: Problem) -> list[dict[str, Any]]:
    buffer = io.BytesIO()
    problem.image.save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    image = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [image, {"type": "text", "text": problem.question}]}]
