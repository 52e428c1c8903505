"""VisualPRM's prompt for a critic, and the score that follows from its labels `+` and `-`.

Source: arXiv 2503.10291 and the released scoring code (`generate_steps_with_soft_score_v2`). The first user
turn holds the question and step 1, and each later user turn holds one step. Every assistant slot before the
one that is read holds `+`. So the prefixes of one answer nest, and a prefix cache computes each token once.

The publication leaves two points open. Here they are decided so:
1. A chat of several turns becomes one question. Each turn is labelled with its role, and its text and images
   stay where they are. So every assistant slot is a label, as in training, and answers to a question that
   refers to earlier turns can be scored.
2. System messages of the chat instruct the policy and are left out. The critic's system message is passed as
   `system` (VisualPRM's released checkpoints take theirs from the chat template).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, overload

from .types import Conversation, CriticError, Message

PLUS = "+"
MINUS = "-"
_QUESTION = "### Question:\n"
_PROCESS = "\n\n### Solution Process:\n"


class CriticPrefixes(Sequence[tuple[Message, ...]]):
    """The messages of one answer, and for each step the part of them that ends with the step.

    A prefix is cut when it is asked for, so an answer of many steps takes no more memory than its messages.
    """

    def __init__(self, messages: Sequence[Message], *, opening: int) -> None:
        """`opening` is the number of messages up to the first step; two more follow for each further step."""
        self.messages = tuple(messages)
        self._opening = opening

    def __len__(self) -> int:
        return 1 + (len(self.messages) - self._opening) // 2

    @overload
    def __getitem__(self, index: int) -> tuple[Message, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[Message, ...], ...]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        return self.messages[: self.length(index)]

    def length(self, index: int) -> int:
        """Return how many messages a prefix has; raises IndexError beyond the last step."""
        number = range(len(self))[index]
        return self._opening + 2 * number


def critic_prefixes(
    conversation: Conversation, steps: Sequence[str], *, system: str | None = None
) -> CriticPrefixes:
    """Return for each step the messages after which the critic writes the label of the step.

    The template's generation prompt follows these messages. The last entry contains all others, so one
    prefill of it passes every label's slot. Image parts stay OpenAI content parts and keep their order in the
    question. Raises ValueError if there is no user message or no step.
    """
    if not steps:
        raise ValueError("there are no steps to score: give at least one")
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": _first_turn(conversation.messages, steps[0])})
    opening = len(messages)
    for step in steps[1:]:
        messages += [{"role": "assistant", "content": PLUS}, {"role": "user", "content": step}]
    return CriticPrefixes(messages, opening=opening)


def label_probability(logprob_plus: float, logprob_minus: float) -> float:
    """Return P(+) in [0, 1]: the softmax over the two labels alone, from logits or log-probabilities.

    Raises CriticError if the two values give no probability (both are minus infinity, or one is NaN).
    """
    difference = logprob_minus - logprob_plus
    if math.isnan(difference):
        raise CriticError(f"the critic gave log-probabilities {logprob_plus} for + and {logprob_minus} for -")
    if difference > 0:  # exp of a positive number could overflow
        return math.exp(-difference) / (1 + math.exp(-difference))
    return 1 / (1 + math.exp(difference))


def _first_turn(messages: Sequence[Message], step: str) -> str | list[Mapping[str, Any]]:
    """Return question and first step as message content: a string, or parts if the question has images."""
    turns = [message for message in messages if message["role"] not in ("system", "developer")]
    if not any(message["role"] == "user" for message in turns):
        raise ValueError("the conversation has no user message: add the question that was answered")
    parts: list[Mapping[str, Any]] = [_text(_QUESTION)]
    for number, message in enumerate(turns):
        if len(turns) > 1:
            parts.append(_text(("\n\n" if number else "") + message["role"].capitalize() + ": "))
        content = message.get("content") or ""
        parts += [_text(content)] if isinstance(content, str) else content
    merged = _merge_texts([*parts, _text(_PROCESS + step)])
    return merged[0]["text"] if len(merged) == 1 else merged


def _text(text: str) -> Mapping[str, Any]:
    return {"type": "text", "text": text}


def _merge_texts(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Join neighbouring text parts, because some chat templates put a line break between parts."""
    merged: list[Mapping[str, Any]] = []
    for part in parts:
        if merged and part["type"] == merged[-1]["type"] == "text":
            merged[-1] = _text(merged[-1]["text"] + part["text"])
        else:
            merged.append(part)
    return merged
