"""Pad training samples of different lengths into one batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ttscaling.train.samples.sample import Sample


@dataclass(frozen=True)
class Batch:
    """Samples padded to one length: B samples, T tokens, R images, N tiles.

    `tiles_NHWC` holds the tiles of all samples in order. It is None if no sample has an image.
    """

    ids_BT: torch.Tensor  # int64
    mask_BT: torch.Tensor  # int64, 1 = real token
    delta_R: torch.Tensor  # float64
    tiles_NHWC: torch.Tensor | None  # uint8
    target_BT: torch.Tensor  # int64
    weight_BT: torch.Tensor  # float32

    @property
    def inputs(self) -> dict[str, Any]:
        """Return the keyword arguments of `V2PEInternVL`."""
        inputs = {"input_ids": self.ids_BT, "attention_mask": self.mask_BT, "delta": self.delta_R}
        return inputs if self.tiles_NHWC is None else inputs | {"pixel_values": self.tiles_NHWC}


def padded(rows: Sequence[np.ndarray], fill: float, *, left: bool = False) -> np.ndarray:
    """Return 1-D arrays of different lengths as rows, filled up with `fill` at the right, or at the left."""
    width = max(len(row) for row in rows)
    stacked = np.full((len(rows), width), fill, dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        stacked[number, width - len(row) if left else 0 :][: len(row)] = row
    return stacked


def collate(samples: Sequence[Sample], *, left: bool = False) -> Batch:
    """Return samples as a batch, padded at the right, or at the left for sampling."""
    tiles = [s.tiles_NHWC for s in samples if s.tiles_NHWC is not None]
    return Batch(
        ids_BT=torch.from_numpy(padded([s.ids_T for s in samples], 0, left=left)),
        mask_BT=torch.from_numpy(padded([np.ones_like(s.ids_T) for s in samples], 0, left=left)),
        delta_R=torch.tensor([delta for s in samples for delta in s.deltas], dtype=torch.float64),
        tiles_NHWC=torch.from_numpy(np.concatenate(tiles)) if tiles else None,
        target_BT=torch.from_numpy(padded([s.target_T for s in samples], 0, left=left)),
        weight_BT=torch.from_numpy(padded([s.weight_T for s in samples], 0, left=left)),
    )
