"""Divide the memory of the GPUs among the engines that run on them.

Each engine gets what it needs. What is left of a GPU is divided equally among its engines
(docs/decisions/0042). An engine has one share for all its GPUs, as vLLM wants it.
"""

from collections.abc import Mapping, Sequence
from math import floor

from server.errors import StartupError

from .need import EnginePlan, memory_need
from .refusal import refusal

USABLE = 0.92
"""The part of a GPU that all its engines together get. It is vLLM's default for one engine."""


def memory_shares(cards: Mapping[int, int], plans: Sequence[EnginePlan]) -> list[float]:
    """Return for each engine the share of its GPUs' memory that it gets (`--gpu-memory-utilization`).

    A share that the operator has set stays as it is, and the other engine gets what it leaves.

    Args:
        cards: the memory of each GPU in bytes, by its number.
        plans: the engines that are to start.

    Raises:
        StartupError: an engine is to run on a GPU that isn't there, its weights can't be split, or the
            engines don't fit. The message is one line that says what to change.
    """
    for plan in plans:
        for device in plan.devices:
            if device not in cards:
                raise StartupError(
                    f"the {plan.title} {plan.name} is to run on GPU {device}, but the GPUs here are "
                    f"{', '.join(map(str, cards))}: correct --{plan.title}-args"
                )
    needs = [_needs(cards, plan) for plan in plans]
    left = {
        device: USABLE * size - sum(need.get(device, 0) for need in needs) for device, size in cards.items()
    }
    for device, spare in left.items():
        here = [plan for plan in plans if device in plan.devices]
        if spare < 0 and any(plan.share is None for plan in here):
            taken = {plan: need[device] for plan, need in zip(plans, needs, strict=True) if device in need}
            raise StartupError(refusal(device, USABLE * cards[device], taken))
    return [
        _share(cards, plan, need, left, plans) if plan.share is None else plan.share
        for plan, need in zip(plans, needs, strict=True)
    ]


def _needs(cards: Mapping[int, int], plan: EnginePlan) -> Mapping[int, float]:
    """Return the bytes that an engine needs, or has from the operator, on each of its GPUs."""
    if plan.share is not None:
        return {device: plan.share * cards[device] for device in plan.devices}
    return dict.fromkeys(plan.devices, memory_need(plan).total)


def _share(
    cards: Mapping[int, int],
    plan: EnginePlan,
    need: Mapping[int, float],
    left: Mapping[int, float],
    plans: Sequence[EnginePlan],
) -> float:
    shares = []
    for device in plan.devices:
        growing = sum(device in other.devices and other.grows for other in plans)
        more = left[device] / growing if plan.grows else 0
        shares.append((need[device] + more) / cards[device])
    return floor(min(shares) * 1000) / 1000
