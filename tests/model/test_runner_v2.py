"""The Triton kernel of vLLM's second model runner computes V2PE's positions; here it runs on arrays.

The kernel (vllm/v1/worker/gpu/mm/rope.py) stores a prompt's rows as int32, and continues from them while
decoding. `test_gpu.py` runs it on a GPU.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from vllm.v1.worker.gpu.mm import rope

from model.plugin.inputs.prompt_positions import prompt_positions
from model.v2pe import TRAINED_DELTAS, decode, positions

ROWS = 3
WINDOW = 512
SLOT = 2  # One of the runner's slots for requests, but not the first.


@dataclass(frozen=True)
class Pointer:
    """One or many addresses in a flat array, with the arithmetic of Triton's kernels."""

    array: NDArray[Any]
    at: Any = 0

    def __add__(self, offset: Any) -> "Pointer":
        return Pointer(self.array, self.at + offset)


def load(pointer: Pointer, mask: Any = True) -> Any:
    mask = np.broadcast_to(mask, np.shape(pointer.at))
    return np.where(mask, pointer.array[np.where(mask, pointer.at, 0)], 0)[()]


def store(pointer: Pointer, value: Any, mask: Any) -> None:
    pointer.array[pointer.at[mask]] = np.broadcast_to(value, mask.shape)[mask]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return vLLM's kernel as a plain function in which numpy replaces Triton's language."""
    language = SimpleNamespace(
        program_id=lambda axis: 0, load=load, store=store, arange=np.arange, static_range=range
    )
    monkeypatch.setattr(rope, "tl", language)
    compiled = rope._prepare_rope_positions_kernel
    return getattr(compiled, "fn", compiled)  # Where Triton is installed, `fn` is the plain function.


def prepare(
    kernel: Any, rows_3T: NDArray[np.int64], offset: int, *, computed: int, tokens: int
) -> NDArray[np.int64]:
    """Return the rows (3, tokens) that the runner gives the model for the next `tokens` of a request."""
    staged = np.zeros(((SLOT + 1) * ROWS, WINDOW), dtype=np.int32)
    length = rows_3T.shape[1]
    staged[SLOT * ROWS :, :length] = rows_3T
    assert (staged[SLOT * ROWS :, :length] == rows_3T).all()  # The rows fit into int32.
    per_request = np.zeros((3, SLOT + 1), dtype=np.int32)
    per_request[:, SLOT] = offset, length, computed
    out = np.zeros((ROWS, WINDOW + 1), dtype=np.int64)
    kernel(
        Pointer(out.reshape(-1)),
        WINDOW + 1,
        Pointer(staged.reshape(-1)),
        ROWS * WINDOW,
        WINDOW,
        Pointer(per_request[0]),
        Pointer(np.array([SLOT])),
        Pointer(np.array([0, tokens])),
        Pointer(per_request[1]),
        Pointer(per_request[2]),
        BLOCK_SIZE=64,
        NUM_DIMS=ROWS,
    )
    return out[:, :tokens]


def features(runs: list[tuple[int, int]], delta: float) -> list[Any]:
    """Return a delta and the images that it holds for, in the form in which the model gets them.

    Args:
        runs: (start, length) of the visual tokens of each image.
        delta: the delta of all images.
    """
    item = {"v2pe_delta": SimpleNamespace(data=torch.tensor(delta, dtype=torch.float64))}
    images = [
        SimpleNamespace(modality="image", mm_position=SimpleNamespace(offset=start, length=length), data=None)
        for start, length in runs
    ]
    return [SimpleNamespace(modality="v2pe", data=item), *images]


def expected(num_tokens: int, runs: list[tuple[int, int]], delta: float) -> NDArray[np.float64]:
    visual_T = np.zeros(num_tokens, dtype=bool)
    for start, length in runs:
        visual_T[start : start + length] = True
    return positions(visual_T, delta)


RUNS = [(3, 75), (90, 130)]
PROMPT = 230


@pytest.mark.parametrize("delta", TRAINED_DELTAS)
def test_prefill_in_chunks_then_decoding(kernel: Any, delta: float):
    rows_3T, offset = prompt_positions(PROMPT, features(RUNS, delta))
    target_T = expected(PROMPT + 20, RUNS, delta)
    got: list[float] = []
    for chunk in (50, 1, 100, 79):  # The chunks end inside images and at the end of the prompt.
        rows = prepare(kernel, rows_3T, offset, computed=len(got), tokens=chunk)
        got += decode(rows).tolist()
    for _ in range(20):
        got += decode(prepare(kernel, rows_3T, offset, computed=len(got), tokens=1)).tolist()
    assert got == pytest.approx(target_T, abs=1e-12)


@pytest.mark.parametrize("delta", TRAINED_DELTAS)
def test_a_preempted_request_resumes_at_the_same_positions(kernel: Any, delta: float):
    answered = PROMPT + 9
    rows_3T, offset = prompt_positions(answered, features(RUNS, delta))
    _, before = prompt_positions(PROMPT, features(RUNS, delta))
    assert offset == before
    target_T = expected(answered + 1, RUNS, delta)
    again = decode(prepare(kernel, rows_3T, offset, computed=0, tokens=answered))
    following = decode(prepare(kernel, rows_3T, offset, computed=answered, tokens=1))
    assert [*again, *following] == pytest.approx(target_T, abs=1e-12)


def test_a_correction_of_all_rows_moves_the_position(kernel: Any):
    """Speculative decoding adds one number to all rows after a wrong guess."""
    rows_3T, _ = prompt_positions(PROMPT, features(RUNS, 1 / 256))
    assert decode(rows_3T - 7) == pytest.approx(decode(rows_3T) - 7)


def test_the_longest_context_fits_in_int32():
    rows_3T, _ = prompt_positions(2**20, features([(10, 2**20 - 20)], 1.0))
    assert rows_3T.max() < 2**31
