"""A critic on an embedded engine: one request for all steps of an answer, and none for what is known.

Any InternVL checkpoint that was trained to judge serves as it is.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttscaling.critic_prompt import critic_prefixes, label_probability
from ttscaling.steps import split_steps
from ttscaling.types import Conversation, CriticError, Message, StepScores

from .step_memo import StepMemo

MEMO_STEPS = 65_536  # about 15 MB


@dataclass(frozen=True, kw_only=True)
class LabelLogits:
    """The labels' logits after each step asked for, and what reading them took."""

    logits: Sequence[tuple[float, float]]  # of + and of -
    prompt_tokens: int
    cached_tokens: int


# Reads the labels after some of the prefixes of one answer (by index), its images seen as the mapping
# (mm_processor_kwargs) says.
ReadLabels = Callable[
    [Sequence[Sequence[Message]], Sequence[int], Mapping[str, Any]], Coroutine[Any, Any, LabelLogits]
]


class StepCritic:
    """ttscaling's Critic over whatever can read labels."""

    def __init__(self, name: str, read: ReadLabels, *, system: str | None = None, seconds: float) -> None:
        """`system`: the system message that the critic was trained with, if any; `seconds`: how long scoring
        one answer may take.
        """
        self._name = name
        self._read = read
        self._system = system or None
        self._seconds = seconds
        self._memo = StepMemo(MEMO_STEPS)

    @property
    def name(self) -> str:
        return self._name

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """Critic's `score`. Whatever goes wrong is a CriticError, cancellation apart."""
        try:
            return await self.score_steps(conversation, split_steps(answer))
        except CriticError:
            raise
        except Exception as error:
            raise CriticError(f"the critic failed ({type(error).__name__})") from error

    async def score_steps(self, conversation: Conversation, steps: Sequence[str]) -> StepScores:
        """The scores of these steps, and the tokens that the critic's engine was asked for: none for a score
        that is known, or that another answer is just having read. The reader's exceptions pass through.
        """
        vision = conversation.mm_processor_kwargs
        prefixes = critic_prefixes(conversation, steps, system=self._system)
        prompt_tokens = cached_tokens = 0

        async def read(wanted: Sequence[int]) -> Sequence[float]:
            nonlocal prompt_tokens, cached_tokens
            reading = await self._read(prefixes, wanted, vision)
            prompt_tokens += reading.prompt_tokens
            cached_tokens += reading.cached_tokens
            return [label_probability(plus, minus) for plus, minus in reading.logits]

        try:
            async with asyncio.timeout(self._seconds):
                scores = await self._memo.scores(step_keys(prefixes, vision), read)
        except TimeoutError:
            raise CriticError(f"the critic did not answer within {self._seconds:g} seconds") from None
        return StepScores(
            steps=tuple(steps), scores=scores, prompt_tokens=prompt_tokens, cached_tokens=cached_tokens
        )


def step_keys(prefixes: Sequence[Sequence[Message]], vision: Mapping[str, Any]) -> list[bytes]:
    """For each prefix a key of all that its score depends on: messages, media, and how these are seen.

    Media with a `uuid` (`media` gives one to each, by its content) count by that, not by their bytes. With
    delta "auto" the whole prompt decides the delta, so there a score also depends on the steps that follow.
    """
    state = hashlib.blake2b(digest_size=16)

    def feed(value: Any) -> None:
        state.update(json.dumps(value, sort_keys=True).encode() + b"\n")

    feed(dict(vision))
    if vision.get("v2pe_delta") == "auto":
        feed([_by_content(message) for message in prefixes[-1]])
    keys, seen = [], 0
    for prefix in prefixes:
        feed([_by_content(message) for message in prefix[seen:]])
        seen = len(prefix)
        keys.append(state.digest())
    return keys


def _by_content(message: Message) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [part.get("uuid") or part for part in content]}
