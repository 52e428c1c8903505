"""What a GPU did in a bench: memory, and operations against what the card can do. Nothing of it on a CPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# Dense bf16 operations a second, from NVIDIA's data sheets, by a part of the card's name.
_BF16_PEAK = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}


def wait_for_gpu() -> None:
    """Until everything that was asked of it is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def gpu_figures(work: Callable[[], object]) -> dict[str, Any]:
    """Peak memory so far in MiB, and the operations of doing `work` once more, recomputed ones included."""
    if not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated() / 2**20
    with FlopCounterMode(display=False) as counter:
        work()
    return {"gpu": torch.cuda.get_device_name(), "gpu_mib": peak, "flops": counter.get_total_flops()}


def bf16_peak(card: str) -> float | None:
    """Operations a second that a card is sold with, None for one that isn't listed."""
    return next((peak for name, peak in _BF16_PEAK.items() if name in card), None)
