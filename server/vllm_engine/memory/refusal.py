"""The line that tells an operator why engines don't fit on a GPU, and what to change."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from model.checkpoint.quantization import is_quantized
from server.errors import StartupError

from .need import GIB, EnginePlan, memory_need

WINDOW_STEP = 4096  # a smaller window is proposed as a multiple of this


def refusal(device: int, usable: float, taken: Mapping[EnginePlan, float]) -> str:
    """Return one line about engines that together need more than a GPU has.

    Args:
        device: the number of the GPU.
        usable: the bytes that engines may take on it.
        taken: the bytes that each engine on it needs, or that the operator gave it.
    """
    engines = [
        f"the {plan.title} {plan.name} {'needs' if plan.share is None else 'has'} {size / GIB:.1f} GiB"
        for plan, size in taken.items()
    ]
    changes = list(_changes(usable, taken))
    listed = changes[0] if len(changes) == 1 else f"{', '.join(changes[:-1])}, or {changes[-1]}"
    return f"{' and '.join(engines)} of GPU {device}, where engines may take {usable / GIB:.1f} GiB: {listed}"


def _changes(usable: float, taken: Mapping[EnginePlan, float]) -> Iterator[str]:
    """Yield what the operator may change, each as a part of a sentence."""
    if len(taken) > 1 and max(taken.values()) <= usable:
        last = list(taken)[-1].title
        yield f"give the {last} a GPU of its own with --{last}-args '--device-ids N'"
    if any(plan.share is not None for plan in taken):
        yield "lower the --gpu-memory-utilization that you have set"
    by_need = [plan for plan in taken if plan.share is None]
    if not by_need:
        return
    largest = max(by_need, key=lambda plan: taken[plan])
    others = sum(size for plan, size in taken.items() if plan is not largest)
    if flag := _split(largest, usable - others):
        yield f"spread the {largest.title} over more GPUs with --{largest.title}-args '{flag}'"
    longest = max(plan.window for plan in by_need)
    for window in range((longest - 1) // WINDOW_STEP * WINDOW_STEP, 0, -WINDOW_STEP):
        shorter = {
            plan: size
            if plan.share is not None
            else memory_need(replace(plan, window=min(window, plan.window))).total
            for plan, size in taken.items()
        }
        if sum({**taken, **shorter}.values()) <= usable:
            yield f"set --max-model-len {window}"
            break
    size = "smaller" if is_quantized(largest.config) else "quantised"
    yield f"use a {size} checkpoint for the {largest.title}"


def _split(plan: EnginePlan, room: float) -> str | None:
    """Return the flag that spreads an engine over as many GPUs as it needs, if it fits so."""
    heads = plan.config.text_config.num_attention_heads
    for factor in (2, 4, 8):
        ranks, stages = plan.tensor_parallel * factor, plan.pipeline_parallel * factor
        for flag, split in (
            (f"--tensor-parallel-size {ranks}", replace(plan, tensor_parallel=ranks)),
            (f"--pipeline-parallel-size {stages}", replace(plan, pipeline_parallel=stages)),
        ):
            if heads % split.tensor_parallel:
                continue
            try:
                if memory_need(split).total <= room:
                    return flag
            except StartupError:  # quantised weights that can't be split so
                continue
    return None
