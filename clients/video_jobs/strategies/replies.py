"""Read the replies of chat requests: the text, the tokens, the delta, and the probability of a yes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clients.sdk.errors import ClientError

MISSING = 1e-4  # the probability of an answer that isn't among the likeliest tokens


def text_of(reply: Mapping[str, Any]) -> str:
    """Return the text of a reply. Raises ClientError if it has none, also with status 200."""
    try:
        text = reply["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise ClientError("the reply is no chat completion; check which server runs at the address") from None
    if not text or not text.strip():
        raise ClientError("the server answered with an empty text; ask again, or raise max_tokens")
    return str(text)


def finish_reason(reply: Mapping[str, Any]) -> str | None:
    """Return why the answer ended, if the reply says so."""
    try:
        return str(reply["choices"][0]["finish_reason"])
    except (KeyError, IndexError, TypeError):
        return None


def total_usage(replies: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the tokens of all replies and their number."""
    usages = [reply.get("usage") or {} for reply in replies]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    total = {name: sum(int(usage.get(name) or 0) for usage in usages) for name in names}
    return {"requests": len(replies)} | total


def delta_of(reply: Mapping[str, Any]) -> float | None:
    """Return the delta that the server took, or None if it doesn't say or took several."""
    delta = (reply.get("vision") or {}).get("v2pe_delta")
    return float(delta) if isinstance(delta, int | float) else None


def yes_probability(reply: Mapping[str, Any]) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) of the first token, or None if the reply doesn't show it.

    A token counts for the word that it begins, whatever its case and the space before it.
    """
    try:
        tokens = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    except (KeyError, IndexError, TypeError):
        return None
    mass = {"yes": 0.0, "no": 0.0}
    for token in tokens:
        begun = str(token["token"]).strip().lower()
        for word in mass:
            if begun and word.startswith(begun):
                mass[word] += math.exp(token["logprob"])
    if not any(mass.values()):
        return None
    yes, no = (max(mass[word], MISSING) for word in ("yes", "no"))
    return yes / (yes + no)
