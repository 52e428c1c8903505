"""Turn a pack of samples into the model's tensors, with the segments that limit attention.

Shapes: T tokens of the pack, S sequences in it, N tiles, H x W pixels, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.v2pe import next_position
from ttscaling.train.network.attention import segments_of
from ttscaling.train.network.internvl import token_positions
from ttscaling.train.samples.pair_samples import PairSample
from ttscaling.train.samples.sample import Sample


@dataclass(frozen=True)
class PackedBatch:
    """The sequences of a pack, one after the other in a batch of one row.

    `sequence_1T` numbers the sequences. `branch_1T` is 0 for the trunk of a sequence, which comes first. For
    the tokens of a branch, which see the trunk and their own branch, it is the number of the branch.
    `tiles_NHWC` holds all tiles in order, or None for a pack of text only.
    """

    ids_1T: torch.Tensor  # int64
    pos_1T: torch.Tensor  # float32, V2PE positions, from 0 in every sequence
    sequence_1T: torch.Tensor  # int64, 0 to S - 1, never decreasing
    branch_1T: torch.Tensor  # int64
    target_1T: torch.Tensor  # int64
    weight_1T: torch.Tensor  # float32, 0 where no token is supervised
    tiles_NHWC: torch.Tensor | None  # uint8

    @property
    def inputs(self) -> dict[str, Any]:
        """Return the inputs of `V2PEInternVL`."""
        return {
            "input_ids": self.ids_1T,
            "segments": segments_of(self.sequence_1T[0], self.branch_1T[0]),
            "attention_mask": torch.ones_like(self.ids_1T),
            "position_ids": self.pos_1T,
            "pixel_values": self.tiles_NHWC,
        }


@dataclass(frozen=True)
class PackedPairs:
    """A packed batch of preference pairs.

    `response_1T` is 2 x pair at the supervised positions of the chosen response, 2 x pair + 1 at those of the
    rejected response, and -1 elsewhere.
    """

    batch: PackedBatch
    response_1T: torch.Tensor  # int64
    num_pairs: int


def pack_samples(samples: Sequence[Sample], *, image_token: int) -> PackedBatch:
    """Return a batch in which each sample is one sequence."""
    return _packed(samples, [np.zeros(len(sample.ids_T), dtype=np.int64) for sample in samples], image_token)


def pack_pairs(pairs: Sequence[PairSample], *, image_token: int) -> PackedPairs:
    """Return a batch in which each pair is one sequence, with the two responses as branches."""
    response_T = np.concatenate(
        [np.where(pair.response_T < 0, -1, 2 * index + pair.response_T) for index, pair in enumerate(pairs)]
    )
    batch = _packed([pair.sample for pair in pairs], [pair.branch_T for pair in pairs], image_token)
    return PackedPairs(batch, torch.from_numpy(response_T)[None], len(pairs))


def _packed(
    samples: Sequence[Sample], branches: Sequence[NDArray[np.int64]], image_token: int
) -> PackedBatch:
    pos = [
        _sample_positions(sample, branch_T, image_token)
        for sample, branch_T in zip(samples, branches, strict=True)
    ]
    tiles = [sample.tiles_NHWC for sample in samples if sample.tiles_NHWC is not None]
    return PackedBatch(
        ids_1T=_row([sample.ids_T for sample in samples]),
        pos_1T=_row(pos),
        sequence_1T=_row([np.full(len(branch_T), number) for number, branch_T in enumerate(branches)]),
        branch_1T=_row(branches),
        target_1T=_row([sample.target_T for sample in samples]),
        weight_1T=_row([sample.weight_T for sample in samples]),
        tiles_NHWC=torch.from_numpy(np.concatenate(tiles)) if tiles else None,
    )


def _sample_positions(sample: Sample, branch_T: NDArray[np.int64], image_token: int) -> NDArray[np.float32]:
    """Return V2PE positions from 0 on. Every branch continues from the end of the trunk."""
    pos_T = np.empty(len(branch_T), dtype=np.float32)
    trunk_T = branch_T == 0
    ids_1T = torch.from_numpy(sample.ids_T[trunk_T])[None]
    trunk_1T = token_positions(ids_1T, torch.ones_like(ids_1T), sample.deltas, image_token=image_token)
    pos_T[trunk_T] = trunk_1T[0]
    start = next_position(pos_T[trunk_T].astype(np.float64))
    for branch in range(1, int(branch_T.max()) + 1):
        own_T = branch_T == branch
        pos_T[own_T] = start + np.arange(own_T.sum())
    return pos_T


def _row(parts: Sequence[NDArray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts))[None]
