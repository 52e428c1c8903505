"""A critic on an embedded engine: per step one generation of one token, read at '+' and '-' alone.

Any InternVL checkpoint that was trained to judge serves as it is. The prefixes of one answer nest, and all
answers to a question share its images, so a prefix cache computes each token once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttscaling.critic import critic_prefixes, judgement
from ttscaling.steps import split_steps
from ttscaling.types import Conversation, CriticError, Message, StepScores


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Log-probabilities of the two labels as the assistant's next token, and what reading them took."""

    plus: float
    minus: float
    prompt_tokens: int
    cached_tokens: int


# Reads the labels after messages whose images are seen as the mapping (mm_processor_kwargs) says.
Read = Callable[[Sequence[Message], Mapping[str, Any]], Coroutine[Any, Any, Reading]]


class StepCritic:
    """ttscaling's Critic over whatever can read labels."""

    def __init__(self, name: str, read: Read, *, system: str | None = None) -> None:
        """`system`: the system message that the critic was trained with, if any."""
        self._name = name
        self._read = read
        self._system = system or None

    @property
    def name(self) -> str:
        return self._name

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """Critic's `score`, all steps at once. Whatever goes wrong is a CriticError, cancellation apart."""
        steps = split_steps(answer)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._read(messages, conversation.mm_processor_kwargs))
                    for messages in critic_prefixes(conversation, steps, system=self._system)
                ]
        except ExceptionGroup as failures:
            cause = failures.exceptions[0]
            raise CriticError(f"the critic failed ({type(cause).__name__})") from cause
        readings = [task.result() for task in tasks]
        return StepScores(
            steps=steps,
            scores=tuple(judgement(reading.plus, reading.minus) for reading in readings),
            prompt_tokens=sum(reading.prompt_tokens for reading in readings),
            cached_tokens=sum(reading.cached_tokens for reading in readings),
        )
