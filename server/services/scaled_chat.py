"""Answer one chat request with test-time scaling, streamed or not."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from server.engine_interface import CountTokens, CriticEngine, PolicyEngine
from server.errors import ApiError, internal_error
from server.prompts import PromptPolicy
from server.protocol.chat_call import ChatCall
from server.protocol.event_stream import DONE, is_error, read_event, write_event
from server.protocol.request_fields import ScalingFields
from server.telemetry.metrics import Metrics
from ttscaling.types import Conversation, CriticError, OutOfTime, PolicyError, Progress, Selection, TokenUsage

from .context import check_critic_delta, check_critic_tiles
from .metered_critic import MeteredCritic
from .methods import select
from .selection_report import ranking, scaling_report

logger = logging.getLogger("internvl3.server")


class ScaledChat:
    """The scaling of one call: it selects among candidates, then adds the selection to the engine's reply.

    `count` gets the tokens of the critic as it takes them; the engine counts the policy's.
    Raises ApiError if the critic can't score the call's videos, or if losers shall be abandoned by scores
    that may change.
    """

    def __init__(
        self,
        engine: PolicyEngine,
        critic: CriticEngine | None,
        call: ChatCall,
        scaling: ScalingFields,
        metrics: Metrics,
        count: CountTokens,
    ) -> None:
        self._critic_engine = critic
        self._call = call
        self._scaling = scaling
        self._metrics = metrics
        self._seed = secrets.randbelow(2**31) if call.seed is None else call.seed
        self._critic: MeteredCritic | None = None
        if scaling.by_critic:
            assert critic is not None, "parse_call refuses these methods without a critic"
            check_critic_tiles(
                critic,
                engine.tiling.tile_size,
                call.media,
                remedy="Send test_time_scaling with method self_consistency.",
                param="test_time_scaling.method",
            )
            if scaling.abandon_losers:
                check_critic_delta(critic, call.vision)
            self._critic = MeteredCritic(critic, call.media, count, metrics.selections)
        self._policy: PromptPolicy | None = None
        self._selection: Selection | None = None
        self._choice_count = call.n  # the selection lowers it if fewer candidates were finished
        # The events of a stream; None ends them.
        self.stream_events: asyncio.Queue[str | None] = asyncio.Queue()

    @property
    def body(self) -> Mapping[str, Any]:
        """The body for the engine.

        Temperature 0 asks for the greedy answer, which is candidate 0. If the other candidates took it, all
        would be that answer, so they get the checkpoint's own temperature.
        """
        body = {**self._call.body, "seed": self._seed}
        if body.get("temperature") == 0:
            del body["temperature"]
        return body

    async def select_candidates(self, policy: PromptPolicy) -> Sequence[int]:
        """Sample candidates, score them and choose; return the indices to reply with, best first.

        Raises ApiError: 503 if the critic failed and the request says `fail`, 504 if no candidate was
        finished in time, and 500 if the policy could write none.
        """
        self._policy = policy
        messages, vision = self._call.body["messages"], self._call.vision
        conversation = Conversation(
            messages=tuple(messages),
            mm_processor_kwargs=vision,
            cache_salt=self._call.cache_salt,
            priority=self._call.body.get("priority", 0),
        )
        try:
            with self._metrics.selections.timed_selection(self._scaling.method, self._scaling.n, self._usage):
                self._selection = await select(
                    self._scaling, policy, self._critic, conversation, self._report_progress
                )
        except CriticError as error:
            critic = self._critic_engine
            can_retry = critic is not None and (critic.alive or critic.comes_back)
            advice = "Retry, or send" if can_retry else "Send"
            raise ApiError(
                f"The critic failed: {error}. {advice} another on_critic_error.",
                status=503,
                code="critic_failed",
                can_retry=can_retry,
            ) from error
        except OutOfTime as error:
            raise ApiError(
                f"No candidate was finished within max_seconds: {error}. Send a larger max_seconds.",
                status=504,
                param="test_time_scaling.max_seconds",
                code="out_of_time",
            ) from error
        except PolicyError as error:
            first = error.__cause__  # of the first candidate that failed
            if first is not None and isinstance(first.__cause__, ApiError):
                raise first.__cause__ from error
            logger.exception("the policy wrote no candidate to choose from")
            raise internal_error() from error
        self._metrics.selections.count_selection(self._selection, by_critic=self._critic is not None)
        order = ranking(self._selection)[: self._call.n]
        self._choice_count = len(order)
        return order

    def opens_missing_choice(self, event: str) -> bool:
        """Return whether a chunk opens a choice that never comes.

        vLLM opens `n` choices, but fewer candidates may have been finished. Strict clients would wait for the
        end of every choice that was opened.
        """
        if self._choice_count == self._call.n or event == DONE:
            return False
        choices = read_event(event).get("choices") or []
        return bool(choices) and all(choice["index"] >= self._choice_count for choice in choices)

    def with_selection(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Return the reply, or its last chunk, with the usage of all candidates and `test_time_scaling`."""
        assert self._selection is not None and self._policy is not None, "call select_candidates first"
        usage = self._usage()
        report = scaling_report(self._selection, self._scaling, self._critic, self._seed, usage)
        prompt = self._policy.prompt_tokens
        reply_usage = dict(reply.get("usage") or {})  # vLLM's details stay
        reply_usage |= {
            "prompt_tokens": prompt,
            "completion_tokens": usage.completion,
            "total_tokens": prompt + usage.completion,
        }
        optional = None if self._scaling.return_candidates else {"candidates": {"__all__": {"text", "steps"}}}
        return {**reply, "usage": reply_usage, "test_time_scaling": report.model_dump(exclude=optional)}

    def _usage(self) -> TokenUsage:
        """Return the tokens that both models took so far."""
        policy = TokenUsage() if self._policy is None else self._policy.usage
        return policy if self._critic is None else policy + self._critic.usage

    def _report_progress(self, progress: Progress) -> None:
        """Send the progress as a comment of the stream, which clients may skip."""
        score, index = progress.latest.score, progress.latest.candidate.index
        if score is None:
            text = f"candidate {progress.finished}/{progress.n} finished"
        else:
            text = f"candidate {progress.scored}/{progress.n} scored: index {index}, {score:.4f}"
        self.stream_events.put_nowait(f": {text}\n\n")


def _with_selection_in_event(event: str, scaled: ScaledChat) -> str:
    """Return a chunk with usage and `test_time_scaling`; an error event stays as it is."""
    return event if is_error(event) else write_event(scaled.with_selection(read_event(event)))


async def with_selection_in_last_chunk(
    scaled: ScaledChat, events: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    """Yield the engine's events, the last chunk with the selection.

    Each event is held back until the next one comes, because only [DONE] shows which chunk was the last.
    """
    held: str | None = None
    async for event in events:
        if scaled.opens_missing_choice(event):
            continue
        if held is not None:
            yield _with_selection_in_event(held, scaled) if event == DONE else held
        held = event
    if held is not None:
        yield held


async def with_progress(scaled: ScaledChat, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield the selection's progress as comments, then the engine's events. Raises ApiError."""

    async def relay() -> None:
        try:
            async for event in with_selection_in_last_chunk(scaled, events):
                scaled.stream_events.put_nowait(event)
        finally:
            scaled.stream_events.put_nowait(None)

    relaying = asyncio.create_task(relay())
    try:
        while (event := await scaled.stream_events.get()) is not None:
            yield event
        await relaying
    finally:
        relaying.cancel()  # if the client has left, this aborts its candidates
        await asyncio.gather(relaying, return_exceptions=True)  # an error of it was raised above
