"""TODO: what this file is about."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from server.engine_interface import Engine, PromptPolicy
from server.errors import ApiError, internal_error
from server.protocol.chat_call import ChatCall
from server.protocol.event_stream import DONE, read_event, write_event
from server.protocol.request_fields import ScalingFields
from server.telemetry.metrics import Metrics
from ttscaling.metered import MeteredCritic
from ttscaling.types import Conversation, CriticError, OutOfTime, PolicyError, Progress, Selection, TokenUsage

from .context import check_critic_tiles
from .methods import select
from .selection_report import ranking, report

logger = logging.getLogger("internvl3.server")
SILENCE_SECONDS = 10.0  # proxies drop a stream that says nothing for long


class ScaledChat:
    """Test-time scaling of one call: makes the selection, then writes it into the engine's reply."""

    def __init__(self, engine: Engine, call: ChatCall, scaling: ScalingFields, metrics: Metrics) -> None:
        self._engine = engine
        self._call = call
        self._scaling = scaling
        self._metrics = metrics
        self._seed = secrets.randbelow(2**31) if call.seed is None else call.seed
        self._critic: MeteredCritic | None = None
        if scaling.by_critic:
            check_critic_tiles(
                engine,
                call.videos,
                remedy="Send test_time_scaling with method self_consistency.",
                param="test_time_scaling.method",
            )
            assert engine.critic is not None, "parse_call refuses these methods without a critic"
            self._critic = MeteredCritic(engine.critic)
        self._policy: PromptPolicy | None = None
        self._selection: Selection | None = None
        self._replies = call.n  # choices of the reply
        self.stream_events: asyncio.Queue[str | None] = asyncio.Queue()  # events of a stream; None ends it

    @property
    def body(self) -> Mapping[str, Any]:
        """What the engine is asked. Temperature 0 asks for the greedy answer, which is candidate 0; taken
        literally for the others it would make all of them that answer, so they get the checkpoint's own
        temperature."""
        body = {**self._call.body, "seed": self._seed}
        if body.get("temperature") == 0:
            del body["temperature"]
        return body

    async def select_candidates(self, policy: PromptPolicy) -> Sequence[int]:
        """Sample, judge, choose: the indices to reply with, best first. Raises ApiError."""
        self._policy = policy
        messages, vision = self._call.body["messages"], self._call.vision
        conversation = Conversation(messages=tuple(messages), mm_processor_kwargs=vision)
        try:
            with self._metrics.selections.timed_selection(self._scaling.method, self._scaling.n, self._usage):
                self._selection = await select(
                    self._scaling, policy, self._critic, conversation, self._report_progress
                )
        except CriticError as error:
            raise ApiError(
                f"The critic failed: {error}. Retry, or send on_critic_error.", status=503
            ) from error
        except OutOfTime as error:
            raise ApiError(
                f"No answer within max_seconds: {error}. Allow more.",
                status=504,
                param="test_time_scaling.max_seconds",
            ) from error
        except PolicyError as error:
            logger.error("no candidate to choose from: %s", error)
            raise internal_error() from error
        self._metrics.selections.count_selection(self._selection, by_critic=self._critic is not None)
        order = ranking(self._selection)[: self._call.n]
        self._replies = len(order)
        return order

    def opens_missing_choice(self, event: str) -> bool:
        """Whether a chunk opens a choice that never comes: vLLM opens `n` of them, and fewer may have been
        finished. Strict clients wait for the end of each that was opened.
        """
        if self._replies == self._call.n or event == DONE:
            return False
        choices = read_event(event).get("choices")
        return bool(choices) and all(choice["index"] >= self._replies for choice in choices)

    def with_selection(self, reply: dict[str, Any]) -> dict[str, Any]:
        """The reply (or its last chunk) with usage and `test_time_scaling`."""
        assert self._selection is not None and self._policy is not None, "a reply before its selection"
        usage = self._usage()
        account = report(self._selection, self._scaling, self._critic, self._seed, usage)
        prompt = self._policy.prompt_tokens
        reported = dict(reply.get("usage") or {})  # keeps vLLM's details
        reported |= {
            "prompt_tokens": prompt,
            "completion_tokens": usage.completion,
            "total_tokens": prompt + usage.completion,
        }
        optional = None if self._scaling.return_candidates else {"candidates": {"__all__": {"text", "steps"}}}
        return {**reply, "usage": reported, "test_time_scaling": account.model_dump(exclude=optional)}

    def _usage(self) -> TokenUsage:
        """So far, by both models."""
        policy = TokenUsage() if self._policy is None else self._policy.usage
        return policy if self._critic is None else policy + self._critic.usage

    def _report_progress(self, progress: Progress) -> None:
        """A line for whoever watches the stream. A comment in server-sent events: clients skip it."""
        score, index = progress.latest.score, progress.latest.candidate.index
        if score is None:
            what = f"candidate {progress.finished}/{progress.n} finished"
        else:
            what = f"candidate {progress.scored}/{progress.n} scored: index {index}, {score:.4f}"
        self.stream_events.put_nowait(f": {what}\n\n")


def _with_selection_in_event(event: str, choice: ScaledChat) -> str:
    """A chunk with usage and `test_time_scaling`; an error event stays as it is."""
    chunk = read_event(event)
    if "error" in chunk:
        return event
    return write_event(choice.with_selection(chunk))


async def with_selection_in_last_chunk(
    choice: ScaledChat, events: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    """The events, each held back until the next: which chunk is the last is known only when [DONE] follows
    it.
    """
    held: str | None = None
    async for event in events:
        if choice.opens_missing_choice(event):
            continue
        if held is not None:
            yield _with_selection_in_event(held, choice) if event == DONE else held
        held = event
    if held is not None:
        yield held


async def with_progress(choice: ScaledChat, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """The engine's events, with the selection's progress while the engine has none yet."""

    async def relay() -> None:
        try:
            async for event in with_selection_in_last_chunk(choice, events):
                choice.stream_events.put_nowait(event)
        finally:
            choice.stream_events.put_nowait(None)

    begun = False
    relaying = asyncio.create_task(relay())
    try:
        while True:
            try:
                event = await asyncio.wait_for(choice.stream_events.get(), SILENCE_SECONDS)
            except TimeoutError:
                event = ": still working\n\n"
            if event is None:
                break
            begun = True
            yield event
        await relaying
    except ApiError as error:
        if not begun:
            raise
        yield write_event(error.body)
        yield DONE
    finally:
        relaying.cancel()  # the client may have gone: this aborts its candidates
        await asyncio.gather(relaying, return_exceptions=True)  # its error, if any, has been told
