"""A pack of samples as the model's tensors: one long sequence, and who may look at whom.

Shapes: T tokens of the pack, S sequences in it, N tiles, H x W pixels, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.v2pe import next_position
from ttscaling.train.batch import Sample
from ttscaling.train.model import token_positions

from .pair_samples import PairSample


@dataclass(frozen=True)
class PackedBatch:
    """Sequences one after the other in a batch of one row.

    `sequence_1T` numbers the sequences; `branch_1T` is 0 for what a whole sequence sees, else the number of
    the branch that alone sees it. `tiles_NHWC` holds all tiles in order, None for text only.
    """

    ids_1T: torch.Tensor  # int64
    pos_1T: torch.Tensor  # float32, V2PE positions, from 0 in every sequence
    sequence_1T: torch.Tensor  # int64, 0 to S - 1, never falling
    branch_1T: torch.Tensor  # int64
    target_1T: torch.Tensor  # int64
    weight_1T: torch.Tensor  # float32, 0 where nothing is asked
    tiles_NHWC: torch.Tensor | None  # uint8

    @property
    def inputs(self) -> dict[str, Any]:
        """What `V2PEInternVL` takes, for attention that reads an explicit mask."""
        return {
            "input_ids": self.ids_1T,
            "attention_mask": visible_mask(self.sequence_1T, self.branch_1T),
            "position_ids": self.pos_1T,
            "pixel_values": self.tiles_NHWC,
        }


@dataclass(frozen=True)
class PackedPairs:
    """A packed batch of preference pairs.

    `response_1T` is 2 x pair for the chosen response's supervised positions, 2 x pair + 1 for the rejected
    one's, -1 elsewhere.
    """

    batch: PackedBatch
    response_1T: torch.Tensor  # int64
    num_pairs: int


def pack_samples(samples: Sequence[Sample], *, image_token: int) -> PackedBatch:
    """A pack of ordinary samples, each a sequence of its own."""
    zeros = [np.zeros(len(sample.ids_T), dtype=np.int64) for sample in samples]
    return _packed(samples, zeros, zeros, image_token)


def pack_pairs(pairs: Sequence[PairSample], *, image_token: int) -> PackedPairs:
    """A pack of preference pairs."""
    response_T = np.concatenate(
        [np.where(pair.response_T < 0, -1, 2 * index + pair.response_T) for index, pair in enumerate(pairs)]
    )
    batch = _packed(
        [pair.sample for pair in pairs],
        [pair.block_T for pair in pairs],
        [pair.branch_T for pair in pairs],
        image_token,
    )
    return PackedPairs(batch, torch.from_numpy(response_T)[None], len(pairs))


def visible_mask(sequence_1T: torch.Tensor, branch_1T: torch.Tensor) -> torch.Tensor:
    """bool (1, 1, T, T): true where the row's token may look at the column's.

    It is an earlier token or itself, of the same sequence, in the row's branch or in none.
    """
    sequence_T, branch_T = sequence_1T[0], branch_1T[0]
    same = sequence_T[:, None] == sequence_T
    open_to = (branch_T == 0) | (branch_T[:, None] == branch_T)
    return (same & open_to).tril()[None, None]


def cu_seqlens(batch: PackedBatch) -> torch.Tensor:
    """int32 (S + 1,): where each sequence begins, and the end, as kernels for variable lengths ask for it.

    Raises:
        ValueError: branches share a prompt, which these kernels can't express.
    """
    if batch.branch_1T.any():
        raise ValueError("a pack with branches needs visible_mask: prepare pairs with share_prompt=False")
    counts_S = torch.bincount(batch.sequence_1T[0])
    return torch.nn.functional.pad(counts_S.cumsum(0), (1, 0)).to(torch.int32)


def _packed(
    samples: Sequence[Sample],
    blocks: Sequence[NDArray[np.int64]],
    branches: Sequence[NDArray[np.int64]],
    image_token: int,
) -> PackedBatch:
    pos = [
        _sample_positions(sample, block_T, branch_T, image_token)
        for sample, block_T, branch_T in zip(samples, blocks, branches, strict=True)
    ]
    first = np.cumsum([0, *(int(block_T[-1]) + 1 for block_T in blocks)])
    tiles = [sample.tiles_NHWC for sample in samples if sample.tiles_NHWC is not None]
    return PackedBatch(
        ids_1T=_row([sample.ids_T for sample in samples]),
        pos_1T=_row(pos),
        sequence_1T=_row([start + block_T for start, block_T in zip(first, blocks, strict=False)]),
        branch_1T=_row(branches),
        target_1T=_row([sample.target_T for sample in samples]),
        weight_1T=_row([sample.weight_T for sample in samples]),
        tiles_NHWC=torch.from_numpy(np.concatenate(tiles)) if tiles else None,
    )


def _sample_positions(
    sample: Sample, block_T: NDArray[np.int64], branch_T: NDArray[np.int64], image_token: int
) -> NDArray[np.float32]:
    """V2PE positions, from 0 in every block; every branch goes on from its block's trunk."""
    pos_T = np.empty(len(block_T), dtype=np.float32)
    deltas = list(sample.deltas)
    for block in range(int(block_T[-1]) + 1):
        trunk_T = (block_T == block) & (branch_T == 0)
        ids_1T = torch.from_numpy(sample.ids_T[trunk_T])[None]
        own, deltas = _split(deltas, ids_1T == image_token)
        pos_T[trunk_T] = token_positions(ids_1T, torch.ones_like(ids_1T), own, image_token=image_token)[0]
        start = next_position(pos_T[trunk_T].astype(np.float64))
        for branch in range(1, int(branch_T[block_T == block].max()) + 1):
            own_T = (block_T == block) & (branch_T == branch)
            pos_T[own_T] = start + np.arange(own_T.sum())
    return pos_T


def _split(deltas: list[float], visual_1T: torch.Tensor) -> tuple[list[float], list[float]]:
    """The deltas of these runs of visual tokens, and those that follow."""
    begins_1T = visual_1T & ~torch.nn.functional.pad(visual_1T, (1, 0))[:, :-1]
    runs = int(begins_1T.sum())
    return deltas[:runs], deltas[runs:]


def _row(parts: Sequence[NDArray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts))[None]
