"""VisualPRM's judge: what a process critic is shown, and how its `+` and `-` become a score.

Source: arXiv 2503.10291 and the released scoring code (`generate_steps_with_soft_score_v2`). The first user
turn holds the question and step 1, each later user turn one step; every assistant slot before the one being
read holds `+`, so the prefixes of one answer nest and a prefix cache computes each token once.

Choices where the publication is silent:
1. A chat of several turns becomes one question: each turn labelled with its role, text and images in place.
   So every assistant slot is a judgement, as in training, and a question that leans on earlier turns can
   still be judged.
2. System messages of the chat instruct the policy and are not shown. A critic's own goes in through `system`
   (VisualPRM's released checkpoints take theirs from the chat template).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .types import Conversation, CriticError, Message

PLUS = "+"
MINUS = "-"
_QUESTION = "### Question:\n"
_PROCESS = "\n\n### Solution Process:\n"


def critic_prefixes(
    conversation: Conversation, steps: Sequence[str], *, system: str | None = None
) -> tuple[tuple[Message, ...], ...]:
    """For each step the messages after which (with the template's generation prompt) the critic judges it.

    The last entry contains all others, so one prefill of it passes every judgement. Image parts stay OpenAI
    content parts at their place in the question. Raises ValueError without a user message or without steps.
    """
    if not steps:
        raise ValueError("no steps to judge")
    opening: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    opening.append({"role": "user", "content": _first_turn(conversation.messages, steps[0])})
    prefixes = [tuple(opening)]
    for step in steps[1:]:
        judged, asked = {"role": "assistant", "content": PLUS}, {"role": "user", "content": step}
        prefixes.append((*prefixes[-1], judged, asked))
    return tuple(prefixes)


def label_probability(logprob_plus: float, logprob_minus: float) -> float:
    """P(+) in [0, 1]: softmax over the two labels alone, from logits or log-probabilities.

    Raises CriticError where the two don't decide a number (both minus infinity, or NaN).
    """
    difference = logprob_minus - logprob_plus
    if math.isnan(difference):
        raise CriticError(f"the critic gave log-probabilities {logprob_plus} for + and {logprob_minus} for -")
    if difference > 0:  # the side on which exp can't overflow
        return math.exp(-difference) / (1 + math.exp(-difference))
    return 1 / (1 + math.exp(difference))


def _first_turn(messages: Sequence[Message], step: str) -> str | list[Mapping[str, Any]]:
    """Question and first step as message content: a string, or parts where the question has images."""
    turns = [message for message in messages if message["role"] not in ("system", "developer")]
    if not any(message["role"] == "user" for message in turns):
        raise ValueError("no user message to judge an answer to")
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
    """Neighbouring text parts become one: some chat templates put a line break between parts."""
    merged: list[Mapping[str, Any]] = []
    for part in parts:
        if merged and part["type"] == merged[-1]["type"] == "text":
            merged[-1] = _text(merged[-1]["text"] + part["text"])
        else:
            merged.append(part)
    return merged
