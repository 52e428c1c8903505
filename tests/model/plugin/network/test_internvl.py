"""Parts of the engine's model agree with transformers' parts; test_parity.py compares the complete model."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Qwen2Config
from transformers.models.internvl.modeling_internvl import InternVLModel as TransformersModel
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding, apply_rotary_pos_emb

from model.plugin.network.internvl import InternVLModel, pixel_unshuffle
from model.plugin.network.rotary import V2PERotary
from model.v2pe import encode


@pytest.mark.parametrize("side", [2, 4, 6])
def test_pixel_unshuffle_is_that_of_transformers(side: int):
    patches = torch.randn(3, side, side, 8, generator=torch.Generator().manual_seed(0))
    expected = TransformersModel.pixel_shuffle(SimpleNamespace(), patches, scale_factor=0.5)
    assert torch.equal(pixel_unshuffle(patches, 0.5), expected)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_tokens_of_a_tile_are_in_the_published_order(version: str):
    """The steps of `pixel_shuffle` in OpenGVLab/InternVL `modeling_internvl_chat.py`."""
    hidden_NPC = torch.randn(2, 17, 8, generator=torch.Generator().manual_seed(0))
    model: Any = SimpleNamespace(
        pixel_mean=torch.zeros(3),
        pixel_std=torch.ones(3),
        vision_model=lambda pixels_NCHW: hidden_NPC,
        downsample_ratio=0.5,
        transposes_tiles=version == "v1",
    )
    got = InternVLModel._vision_features(model, torch.zeros(2, 56, 56, 3, dtype=torch.uint8))
    halved = hidden_NPC[:, 1:].reshape(2, 4, 2, 16).permute(0, 2, 1, 3)
    shuffled = halved.reshape(2, 2, 2, 32)
    expected = shuffled if version == "v1" else shuffled.permute(0, 2, 1, 3)
    assert torch.equal(got, expected.reshape(2, 4, 32))


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
    for result, expected_heads in zip(got, expected, strict=True):
        assert result.dtype == dtype
        reference = expected_heads.transpose(1, 2).reshape(6, -1).to(dtype)
        torch.testing.assert_close(result, reference, rtol=0, atol=1e-5 if dtype == torch.float32 else 0)


def test_placeholders_of_chat_requests():
    assert InternVLModel.get_placeholder_str("image", 1) == "<IMG_CONTEXT>"
    assert InternVLModel.get_placeholder_str("video", 2) == "<video>"
    with pytest.raises(ValueError, match="images and videos, not audio"):
        InternVLModel.get_placeholder_str("audio", 1)


def test_an_engine_with_prompt_embeddings_is_refused():
    config = SimpleNamespace(model_config=SimpleNamespace(enable_prompt_embeds=True))
    with pytest.raises(ValueError, match="enable_prompt_embeds isn't supported"):
        InternVLModel(vllm_config=config)
