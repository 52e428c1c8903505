"""With which delta of V2PE a critic sees the images of a candidate, wherever the critic runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttscaling.types import Conversation


@dataclass(frozen=True, kw_only=True)
class DeltaRule:
    """The rule of `--critic-delta`.

    A critic sees a candidate with its own delta, or with the policy's if the answer doesn't fit the critic's
    window so. A critic that was trained without V2PE has seen no other delta than 1 (docs/decisions/0043).
    """

    follows_request: bool  # whether the critic sees it with the delta of the request, and never with its own
    policy_delta: float  # the policy's delta in a request that names none

    def attempts(self, conversation: Conversation) -> Sequence[Conversation]:
        """Return the question with the delta to try first, and with the one for answers that are too long.

        A question that names no delta is seen with the critic's own.
        """
        vision = dict(conversation.mm_processor_kwargs)
        delta = vision.pop("v2pe_delta", self.policy_delta)
        at_policy_delta = replace(conversation, mm_processor_kwargs={**vision, "v2pe_delta": delta})
        if self.follows_request:
            return [at_policy_delta]
        return [replace(conversation, mm_processor_kwargs=vision), at_policy_delta]

    def keeps_scores(self, vision: Mapping[str, Any], own_delta: float) -> bool:
        """Return whether all lengths of an answer are seen with one delta.

        `vision` holds the mm_processor_kwargs of the request, and `own_delta` is the critic's own delta.
        """
        delta = vision.get("v2pe_delta", self.policy_delta)
        if delta == "auto":
            return False
        deltas = delta if isinstance(delta, list | tuple) else [delta]
        return self.follows_request or all(each == own_delta for each in deltas)
