"""Parts of the engine's model against transformers' parts. The whole is compared in test_parity.py."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Qwen2Config
from transformers.models.internvl.modeling_internvl import InternVLModel as TransformersModel
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding, apply_rotary_pos_emb

from model.internvl import V2PERotary, pixel_unshuffle, prompt_positions
from model.v2pe import decode, encode


def feature(offset: int, visual_tokens: int, delta: float) -> Any:
    """An image as vLLM hands it to the model: a frame of one token on each side."""
    is_embed = torch.tensor([False, *[True] * visual_tokens, False])
    place = SimpleNamespace(offset=offset, length=visual_tokens + 2, is_embed=is_embed)
    item = {"image_v2pe_delta": SimpleNamespace(data=torch.tensor(delta, dtype=torch.float64))}
    return SimpleNamespace(mm_position=place, data=item)


@pytest.mark.parametrize("side", [2, 4, 6])
def test_pixel_unshuffle_is_that_of_transformers(side: int):
    patches = torch.randn(3, side, side, 8, generator=torch.Generator().manual_seed(0))
    expected = TransformersModel.pixel_shuffle(SimpleNamespace(), patches, scale_factor=0.5)
    assert torch.equal(pixel_unshuffle(patches, 0.5), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotary_is_that_of_transformers_at_fractional_positions(dtype: torch.dtype):
    heads, head_dim = 3, 32
    position_T = torch.tensor([0.0, 1.0, 1.25, 1 + 1 / 256, 700.0625, 30000.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(6, heads * head_dim, generator=generator).to(dtype) for _ in range(2))
    config = Qwen2Config(
        hidden_size=heads * head_dim,
        num_attention_heads=heads,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    cos, sin = Qwen2RotaryEmbedding(config)(query.float(), position_T[None].float())
    split = [t.float().view(1, 6, heads, head_dim).transpose(1, 2) for t in (query, key)]
    expected = apply_rotary_pos_emb(*split, cos, sin)
    got = V2PERotary(head_dim, 1e4)(torch.from_numpy(encode(position_T.numpy())), query, key)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.dtype == dtype
        reference = theirs.transpose(1, 2).reshape(6, -1).to(dtype)
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-5 if dtype == torch.float32 else 0)


def test_images_are_placed_by_their_features():
    rows_3T, offset = prompt_positions(12, [feature(1, 4, 0.25), feature(8, 2, 0.5)])
    assert decode(rows_3T.numpy()).tolist() == [0, 1, 1.25, 1.5, 1.75, 2, 3, 4, 5, 5.5, 6, 7]
    assert offset == 8 - 12


def test_an_answer_behind_the_prompt_changes_neither_positions_nor_offset():
    images = [feature(1, 3, 0.25)]
    prompt_3T, offset = prompt_positions(7, images)
    preempted_3T, preempted_offset = prompt_positions(10, images)
    assert torch.equal(preempted_3T[:, :7], prompt_3T)
    assert preempted_offset == offset
    # What the engine gives a generated token: its index plus the offset, in all three rows.
    assert preempted_3T[:, 7:].tolist() == [[7 + offset, 8 + offset, 9 + offset]] * 3


def test_a_text_prompt_counts_from_zero():
    rows_3T, offset = prompt_positions(4, [])
    assert rows_3T.tolist() == [[0, 1, 2, 3]] * 3
    assert offset == 0


def test_an_image_without_data_is_an_error():
    image = feature(0, 2, 1)
    image.data = None
    with pytest.raises(RuntimeError, match="without its delta"):
        prompt_positions(4, [image])
