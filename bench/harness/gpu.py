"""Measure a GPU's memory and operations in a benchmark; a machine without a GPU has no such figures."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# Dense bf16 operations per second from NVIDIA's data sheets, by a part of the card's name.
_BF16_PEAK = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}


def wait_for_gpu() -> None:
    """Wait until the GPU has finished all its work; return at once if there is no GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def gpu_figures(work: Callable[[], object]) -> dict[str, Any]:
    """Return the GPU's name, its peak memory so far in MiB, and the operations of one more `work()`.

    Recomputed operations are counted too. Without a GPU the result is empty.
    """
    if not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated() / 2**20
    with FlopCounterMode(display=False) as counter:
        work()
    return {"gpu": torch.cuda.get_device_name(), "gpu_mib": peak, "flops": counter.get_total_flops()}


def bf16_peak(card: str) -> float | None:
    """Return a card's bf16 operations per second by its data sheet, None for a card that isn't listed."""
    return next((peak for name, peak in _BF16_PEAK.items() if name in card), None)
