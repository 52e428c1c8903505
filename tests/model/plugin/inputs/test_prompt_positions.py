"""The positions of a prompt follow from the spans of vLLM's items, which are images, frames and deltas."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.plugin.inputs.prompt_positions import prompt_positions
from model.v2pe import decode


def pixels(offset: int, visual_tokens: int, modality: str = "image") -> Any:
    """Return an image or frame in the form in which the model gets it from vLLM, without tiles."""
    slot = SimpleNamespace(offset=offset, length=visual_tokens, is_embed=None)
    return SimpleNamespace(modality=modality, mm_position=slot, data=None)


def delta(offset: int, value: float) -> Any:
    slot = SimpleNamespace(offset=offset, length=1, is_embed=torch.tensor([False]))
    item = {"v2pe_delta": SimpleNamespace(data=torch.tensor(value, dtype=torch.float64))}
    return SimpleNamespace(modality="v2pe", mm_position=slot, data=item)


def test_a_delta_holds_up_to_the_next():
    features = [delta(1, 0.25), pixels(2, 4), delta(8, 0.5), pixels(9, 2, "video"), pixels(12, 2, "video")]
    rows_3T, offset = prompt_positions(15, features)
    assert decode(rows_3T).tolist() == [0, 1, 1.25, 1.5, 1.75, 2, 3, 4, 5, 5.5, 6, 7, 7.5, 8, 9]
    assert offset == 10 - 15


def test_an_answer_behind_the_prompt_changes_neither_positions_nor_offset():
    features = [delta(1, 0.25), pixels(2, 3)]
    prompt_3T, offset = prompt_positions(7, features)
    preempted_3T, preempted_offset = prompt_positions(10, features)
    assert preempted_3T[:, :7].tolist() == prompt_3T.tolist()
    assert preempted_offset == offset
    # The engine gives a generated token its index plus the offset, in all three rows.
    assert preempted_3T[:, 7:].tolist() == [[7 + offset, 8 + offset, 9 + offset]] * 3


def test_a_text_prompt_counts_from_zero():
    rows_3T, offset = prompt_positions(4, [])
    assert rows_3T.tolist() == [[0, 1, 2, 3]] * 3
    assert offset == 0


def test_an_image_without_a_delta_is_an_error():
    with pytest.raises(RuntimeError, match="image without a delta"):
        prompt_positions(4, [pixels(0, 2), delta(3, 1)])
