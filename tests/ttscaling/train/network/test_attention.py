"""Attention within segments compared with the dense mask of a pack."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaModel, Qwen2Config, Qwen2Model, Qwen3Config, Qwen3Model

from tests.ttscaling.train.data.material import tiny_model
from ttscaling.train.network.attention import IN_SEGMENTS, Segments, attention_in_segments, segments_of
from ttscaling.train.packs.packed_batch import pack_samples
from ttscaling.train.samples.sample import Sample

# Two plain sequences around a sequence with a trunk and two branches, and a sequence of one token.
SEQUENCE_T = torch.tensor([0] * 5 + [1] * 12 + [2] * 3 + [3])
BRANCH_T = torch.tensor([0] * 5 + [0] * 4 + [1] * 5 + [2] * 3 + [0] * 3 + [0])
HEADS, KEY_HEADS, CHANNELS = 4, 2, 8


def visible(sequence_T: torch.Tensor, branch_T: torch.Tensor) -> torch.Tensor:
    """Return (T, T), true where the token of the row sees the token of the column."""
    same_TT = sequence_T[:, None] == sequence_T
    open_TT = (branch_T == 0) | (branch_T[:, None] == branch_T)
    return (same_TT & open_TT).tril()


def random_heads(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = len(SEQUENCE_T)
    query, key, value = (
        torch.randn(1, heads, tokens, CHANNELS, generator=generator, requires_grad=True)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    return query, key, value


def dense_attention(heads: tuple[torch.Tensor, ...], mask_TT: torch.Tensor) -> torch.Tensor:
    query, key, value = heads
    attended = scaled_dot_product_attention(query, key, value, attn_mask=mask_TT, scale=0.3, enable_gqa=True)
    return attended.transpose(1, 2)


def test_the_dense_mask_of_trunks_and_branches() -> None:
    mask_TT = visible(torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 1, 1, 2, 0, 0]))
    assert mask_TT.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_outputs_and_gradients_are_those_of_the_dense_mask() -> None:
    segments = segments_of(SEQUENCE_T, BRANCH_T)
    ours, theirs = random_heads(0), random_heads(0)
    attended, _ = attention_in_segments(torch.nn.Module(), *ours, None, segments=segments, scaling=0.3)
    expected = dense_attention(theirs, visible(SEQUENCE_T, BRANCH_T))
    torch.testing.assert_close(attended, expected, rtol=0, atol=1e-5)
    attended.square().sum().backward()
    expected.square().sum().backward()
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=0, atol=1e-5)


def test_queries_and_keys_of_autocast_are_cast_to_the_type_of_the_values() -> None:
    """The rotary embedding makes them float32. Without the cast the fast kernel would never be used."""
    query, key, value = random_heads(0)
    segments = segments_of(SEQUENCE_T, BRANCH_T)
    attended, _ = attention_in_segments(
        torch.nn.Module(), query, key, value.bfloat16(), None, segments=segments, scaling=0.3
    )
    expected, _ = attention_in_segments(
        torch.nn.Module(),
        query.bfloat16(),
        key.bfloat16(),
        value.bfloat16(),
        None,
        segments=segments,
        scaling=0.3,
    )
    assert attended.dtype == torch.bfloat16
    assert torch.equal(attended, expected)


def attention_of_the_kernel(heads: tuple[torch.Tensor, ...], segments: Segments) -> torch.Tensor:
    """Return flash attention for variable lengths: query i of n sees all but the last n - 1 - i keys."""
    query_HTC, key_GTC, value_GTC = (x[0] for x in heads)
    parts = []
    bounds = (pairwise(cu_S1.tolist()) for cu_S1 in (segments.cu_query_S1, segments.cu_key_S1))
    for (query_begin, query_end), (key_begin, key_end) in zip(*bounds, strict=True):
        queries, keys = query_end - query_begin, key_end - key_begin
        key_N = segments.key_K[key_begin:key_end]
        mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        parts.append(
            scaled_dot_product_attention(
                query_HTC[:, query_begin:query_end],
                key_GTC[:, key_N],
                value_GTC[:, key_N],
                attn_mask=mask,
                scale=0.3,
                enable_gqa=True,
            )
        )
    return torch.cat(parts, dim=1).transpose(0, 1)[None]


def test_the_arguments_of_the_varlen_kernel_give_the_same() -> None:
    heads = random_heads(1)
    attended = attention_of_the_kernel(heads, segments_of(SEQUENCE_T, BRANCH_T))
    torch.testing.assert_close(
        attended, dense_attention(heads, visible(SEQUENCE_T, BRANCH_T)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("branch", [[1, 0, 0], [0, 2, 1]])
def test_a_trunk_comes_first_and_branches_in_order(branch: list[int]) -> None:
    with pytest.raises(ValueError, match="put the trunk first"):
        segments_of(torch.zeros(3, dtype=torch.long), torch.tensor(branch))


@torch.no_grad()
@pytest.mark.parametrize(
    ("model", "config"), [(Qwen2Model, Qwen2Config), (Qwen3Model, Qwen3Config), (LlamaModel, LlamaConfig)]
)
def test_every_language_model_passes_the_segments_on(model: type, config: type) -> None:
    """InternVL3 has Qwen2, or InternLM, which is loaded as Llama. Later models have Qwen3."""
    torch.manual_seed(0)
    language = model(
        config(
            vocab_size=32,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            head_dim=CHANNELS,
        )
    ).eval()
    ids_1T = torch.arange(len(SEQUENCE_T))[None]
    inputs = {
        "input_ids": ids_1T,
        "position_ids": ids_1T * 0.25,
        "use_cache": False,
    }
    mask_11TT = visible(SEQUENCE_T, BRANCH_T)[None, None]
    expected = language(**inputs, attention_mask=mask_11TT).last_hidden_state
    language.set_attn_implementation(IN_SEGMENTS)
    everywhere = torch.ones_like(ids_1T)
    segments = segments_of(SEQUENCE_T, BRANCH_T)
    ours = language(**inputs, attention_mask=everywhere, segments=segments).last_hidden_state
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    padded = everywhere.clone()
    padded[:, :3] = 0
    ours = language(**inputs, attention_mask=padded).last_hidden_state
    language.set_attn_implementation("sdpa")
    assert torch.equal(ours, language(**inputs, attention_mask=padded).last_hidden_state)


class Largest(TorchDispatchMode):
    """A mode that records the size of the largest tensor that is created."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        created = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numbers = max([self.numbers, *(tensor.numel() for tensor in created)])
        return result


def test_a_long_pack_needs_no_tensor_of_the_square_of_its_length() -> None:
    """One sequence of 4,096 tokens, forwards and backwards, equals itself in a pack with another sequence."""
    model, image_token = tiny_model(), 5
    ids_T = np.random.default_rng(0).integers(10, 60, 4096)
    samples = [
        Sample(ids_T[:n], ids_T[:n], np.ones(n, np.float32), deltas=(), tiles_NHWC=None) for n in (300, 4096)
    ]
    alone = pack_samples(samples[1:], image_token=image_token)
    with Largest() as largest:
        hidden_1TD = model.hidden_states(**alone.inputs)
        hidden_1TD.square().mean().backward()
    assert largest.numbers < 4096**2 / 8
    together = model.hidden_states(**pack_samples(samples, image_token=image_token).inputs)
    torch.testing.assert_close(together[:, 300:], hidden_1TD, rtol=0, atol=1e-5)
