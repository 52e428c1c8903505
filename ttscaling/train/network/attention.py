"""Attention within the sequences of a pack, without a mask over all pairs of tokens.

A pack is cut into segments. A segment is a complete sequence, or a trunk, or one branch of a trunk. A token
sees the tokens before it in its segment, and a token of a branch also sees the trunk. On a GPU, in bf16 or
fp16, one kernel for variable lengths computes a complete pack. Its causal mask is aligned to the end of the
keys, and a branch after its trunk needs this. Otherwise each segment is one ordinary call. Both give the
numbers of an explicit mask, and their memory grows with the number of tokens, not with its square.

Shapes: T tokens of the pack, S segments, K keys of all segments one after the other (the keys of a trunk are
repeated for each of its branches), H heads, G heads of keys, C channels of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IN_SEGMENTS = "in_segments"
"""The name under which transformers finds this attention."""


@dataclass(frozen=True)
class Segment:
    """The tokens `begin` to `end` of a pack, which also see the tokens `trunk` to `trunk_end`."""

    begin: int
    end: int
    trunk: int
    trunk_end: int


@dataclass(frozen=True)
class Segments:
    """The segments of a pack, in the form that both kinds of kernel need."""

    each: tuple[Segment, ...]
    key_K: torch.Tensor  # int64, the token of each key
    cu_query_S1: torch.Tensor  # int32, the start of each segment's queries, and the end of the last
    cu_key_S1: torch.Tensor  # int32, the same for its keys

    def to(self, device: torch.device) -> "Segments":
        """Return these segments with their tensors on the device."""
        return replace(
            self,
            key_K=self.key_K.to(device),
            cu_query_S1=self.cu_query_S1.to(device),
            cu_key_S1=self.cu_key_S1.to(device),
        )


def segments_of(sequence_T: torch.Tensor, branch_T: torch.Tensor) -> Segments:
    """Return the segments of a pack.

    Args:
        sequence_T: the number of each token's sequence, never decreasing.
        branch_T: 0 for tokens of the trunk, which comes first in a sequence, and the number of the branch for
            others.

    Raises:
        ValueError: the trunk of a sequence doesn't come first, or the numbers of its branches decrease.
    """
    changes_T = (sequence_T.diff() != 0) | (branch_T.diff() != 0)
    if bool(((sequence_T.diff() == 0) & (branch_T.diff() < 0)).any()):
        raise ValueError(
            "branch_T decreases within a sequence: put the trunk first, then one branch after the other"
        )
    bounds = [0, *(changes_T.nonzero()[:, 0] + 1).tolist(), len(sequence_T)]
    each: list[Segment] = []
    for begin, end in pairwise(bounds):
        trunk = trunk_end = begin
        if branch_T[begin] > 0 and each and sequence_T[each[-1].begin] == sequence_T[begin]:
            before = each[-1]  # the trunk itself, or a branch of the same trunk
            is_trunk = bool(branch_T[before.begin] == 0)
            trunk, trunk_end = (before.begin, before.end) if is_trunk else (before.trunk, before.trunk_end)
        each.append(Segment(begin, end, trunk, trunk_end))
    keys = [
        torch.cat([torch.arange(one.trunk, one.trunk_end), torch.arange(one.begin, one.end)]) for one in each
    ]
    return Segments(
        each=tuple(each),
        key_K=torch.cat(keys),
        cu_query_S1=torch.tensor(bounds, dtype=torch.int32),
        cu_key_S1=_cumulated([len(key_K) for key_K in keys]),
    )


def attention_in_segments(
    module: torch.nn.Module,
    query_1HTC: torch.Tensor,
    key_1GTC: torch.Tensor,
    value_1GTC: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    segments: Segments | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the output (1, T, H, C) of attention and no weights, in the form that transformers expects.

    Without `segments`, for padded batches and generation, this is transformers' attention with the mask. With
    `segments` the mask is ignored, and so is dropout, which no published checkpoint has.
    """
    if segments is None:
        return sdpa_attention_forward(
            module, query_1HTC, key_1GTC, value_1GTC, attention_mask, scaling=scaling, **kwargs
        )
    # Under autocast the rotary embedding makes queries and keys float32, and values stay bf16.
    query_1HTC, key_1GTC = query_1HTC.to(value_1GTC.dtype), key_1GTC.to(value_1GTC.dtype)
    if query_1HTC.is_cuda and query_1HTC.dtype in (torch.bfloat16, torch.float16):
        return _by_varlen(query_1HTC, key_1GTC, value_1GTC, segments, scaling)[None], None
    parts = [_of_segment(query_1HTC, key_1GTC, value_1GTC, segment, scaling) for segment in segments.each]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _by_varlen(
    query_1HTC: torch.Tensor,
    key_1GTC: torch.Tensor,
    value_1GTC: torch.Tensor,
    segments: Segments,
    scaling: float | None,
) -> torch.Tensor:
    """Return the output (T, H, C) of flash attention. A segment's queries are those of its last keys."""
    query_THC, key_TGC, value_TGC = (x[0].transpose(0, 1) for x in (query_1HTC, key_1GTC, value_1GTC))
    if len(segments.key_K) > len(key_TGC):
        key_TGC, value_TGC = key_TGC[segments.key_K], value_TGC[segments.key_K]
    sizes = [(one.end - one.begin, one.trunk_end - one.trunk) for one in segments.each]
    attended = varlen_attn(
        query_THC.contiguous(),
        key_TGC.contiguous(),
        value_TGC.contiguous(),
        segments.cu_query_S1,
        segments.cu_key_S1,
        max(own for own, _ in sizes),
        max(own + trunk for own, trunk in sizes),
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=query_THC.shape[1] != key_TGC.shape[1],
    )
    assert isinstance(attended, torch.Tensor), "varlen_attn returns only the output by default"
    return attended


def _of_segment(
    query_1HTC: torch.Tensor,
    key_1GTC: torch.Tensor,
    value_1GTC: torch.Tensor,
    segment: Segment,
    scaling: float | None,
) -> torch.Tensor:
    """Return the output of a segment, (1, H, tokens of the segment, C)."""
    query_1HTC = query_1HTC[:, :, segment.begin : segment.end]
    key_1GTC, value_1GTC = (_keys(x_1GTC, segment) for x_1GTC in (key_1GTC, value_1GTC))
    queries, keys = query_1HTC.shape[2], key_1GTC.shape[2]
    mask = None
    if queries < keys:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=query_1HTC.device).tril(keys - queries)
    return scaled_dot_product_attention(
        query_1HTC,
        key_1GTC,
        value_1GTC,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query_1HTC.shape[1] != key_1GTC.shape[1],
    )


def _keys(x_1GTC: torch.Tensor, segment: Segment) -> torch.Tensor:
    own = x_1GTC[:, :, segment.begin : segment.end]
    if segment.trunk == segment.trunk_end:
        return own
    return torch.cat([x_1GTC[:, :, segment.trunk : segment.trunk_end], own], dim=2)


def _cumulated(counts: Sequence[int]) -> torch.Tensor:
    return pad(torch.tensor(counts).cumsum(0), (1, 0)).to(torch.int32)


# transformers finds attention by its name. Padded batches get the masks of its SDPA.
AttentionInterface.register(IN_SEGMENTS, attention_in_segments)
AttentionMaskInterface.register(IN_SEGMENTS, sdpa_mask)
