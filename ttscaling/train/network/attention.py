"""Attention within the sequences of a pack, without a mask of all pairs of its tokens.

A pack is cut into segments: a sequence, or its trunk and each of its branches. A segment's tokens see the
trunk, if there is one, and what comes before them in the segment; nothing else. So one kernel for variable
lengths does all of a pack on a GPU (its causal mask is aligned to the end of the keys, which is what a branch
behind its trunk needs), and one ordinary call for each segment does elsewhere: the same numbers as with the
explicit mask, and memory that grows with the tokens, not with their square.

Shapes: T tokens of the pack, S segments, K keys of all segments one after the other (a trunk's come again for
each of its branches), H heads, G heads of keys, C channels of a head.
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
"""The name of this attention in transformers."""


@dataclass(frozen=True)
class Segment:
    """Tokens `begin` to `end` of a pack, which see those from `trunk` on up to `trunk_end` too."""

    begin: int
    end: int
    trunk: int
    trunk_end: int


@dataclass(frozen=True)
class Segments:
    """Who sees whom in a pack, as both kinds of kernel want it."""

    each: tuple[Segment, ...]
    key_K: torch.Tensor  # int64, the token of each key
    cu_query_S1: torch.Tensor  # int32, where each segment's queries begin, and the end
    cu_key_S1: torch.Tensor  # int32, likewise its keys

    def to(self, device: torch.device) -> "Segments":
        """The same with its tensors there."""
        moved = (self.key_K.to(device), self.cu_query_S1.to(device), self.cu_key_S1.to(device))
        return replace(self, key_K=moved[0], cu_query_S1=moved[1], cu_key_S1=moved[2])


def segments_of(sequence_T: torch.Tensor, branch_T: torch.Tensor) -> Segments:
    """The segments of a pack.

    Args:
        sequence_T: the number of each token's sequence, never falling.
        branch_T: 0 for the trunk, which comes first in a sequence, then the number of each token's branch.

    Raises:
        ValueError: the tokens of a branch don't follow each other, or the trunk doesn't come first.
    """
    changes_T = (sequence_T.diff() != 0) | (branch_T.diff() != 0)
    if bool(((sequence_T.diff() == 0) & (branch_T.diff() < 0)).any()):
        raise ValueError("a sequence's trunk comes first, then one branch after the other")
    bounds = [0, *(changes_T.nonzero()[:, 0] + 1).tolist(), len(sequence_T)]
    each: list[Segment] = []
    for begin, end in pairwise(bounds):
        trunk = trunk_end = begin
        if branch_T[begin] > 0 and each and sequence_T[each[-1].begin] == sequence_T[begin]:
            before = each[-1]  # the trunk itself, or a branch that knows it
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
    """Attention as transformers' language models call it: (1, T, H, C), and no weights.

    Without `segments` it is transformers' own, which heeds the mask: padded batches and generation. With
    them the mask and dropout, which no published checkpoint has, are not looked at.
    """
    if segments is None:
        return sdpa_attention_forward(
            module, query_1HTC, key_1GTC, value_1GTC, attention_mask, scaling=scaling, **kwargs
        )
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
    """(T, H, C). Flash attention; a segment's queries are the last of its keys."""
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
    assert isinstance(attended, torch.Tensor), "nothing else was asked for"
    return attended


def _of_segment(
    query_1HTC: torch.Tensor,
    key_1GTC: torch.Tensor,
    value_1GTC: torch.Tensor,
    segment: Segment,
    scaling: float | None,
) -> torch.Tensor:
    """(1, H, tokens of the segment, C)."""
    query_1HTC = query_1HTC[:, :, segment.begin : segment.end]
    key_1GTC, value_1GTC = (_keys(x_1GTC, segment) for x_1GTC in (key_1GTC, value_1GTC))
    own, seen = query_1HTC.shape[2], key_1GTC.shape[2]
    mask = None
    if own < seen:
        mask = torch.ones(own, seen, dtype=torch.bool, device=query_1HTC.device).tril(seen - own)
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


# transformers finds attention by name; padded batches get the masks that its SDPA gets.
AttentionInterface.register(IN_SEGMENTS, attention_in_segments)
AttentionMaskInterface.register(IN_SEGMENTS, sdpa_mask)
