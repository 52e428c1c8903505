"""Training samples and how they become padded batches.

Shapes: T tokens of a sample, B samples of a batch, N tiles, H x W pixels, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.v2pe import positions

# Published preprocessing: tiles are scaled to [0, 1] and normalised with ImageNet's mean and deviation.
MEAN_C = torch.tensor([0.485, 0.456, 0.406])
STD_C = torch.tensor([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Sample:
    """One token sequence with what the loss asks at each position.

    `target_T[t]` is the token to predict from position t (usually `ids_T[t + 1]`), `weight_T[t]` its loss
    weight (0 = context only). `delta_T` is each token's V2PE step; only visual tokens' values are used.
    """

    ids_T: np.ndarray
    target_T: np.ndarray
    weight_T: np.ndarray
    delta_T: np.ndarray
    tiles_NHWC: np.ndarray | None

    def followed_by(self, ids: Sequence[int]) -> "Sample":
        """The same context with more unsupervised text tokens after it."""
        more_T = np.array(ids, dtype=np.int64)
        return Sample(
            ids_T=np.concatenate([self.ids_T, more_T]),
            target_T=np.concatenate([self.target_T, more_T]),
            weight_T=np.concatenate([self.weight_T, np.zeros(len(ids), np.float32)]),
            delta_T=np.concatenate([self.delta_T, np.ones(len(ids))]),
            tiles_NHWC=self.tiles_NHWC,
        )


@dataclass(frozen=True)
class Batch:
    """Samples padded to one length; `pixels_NCHW` holds all their tiles in order, None for text only."""

    ids_BT: torch.Tensor  # int64
    mask_BT: torch.Tensor  # int64, 1 = real token
    pos_BT: torch.Tensor  # float32, V2PE positions
    pixels_NCHW: torch.Tensor | None  # float32
    target_BT: torch.Tensor  # int64
    weight_BT: torch.Tensor  # float32


def normalise(tiles_NHWC: np.ndarray) -> torch.Tensor:
    """uint8 tiles to float32 `pixels_NCHW`."""
    scaled_NHWC = torch.from_numpy(tiles_NHWC).float() / 255
    return ((scaled_NHWC - MEAN_C) / STD_C).permute(0, 3, 1, 2).contiguous()


def padded(rows: Sequence[np.ndarray], fill: float, *, left: bool = False) -> np.ndarray:
    """Stack 1-D arrays of different lengths, filled up at the right (or left)."""
    width = max(len(row) for row in rows)
    stacked = np.full((len(rows), width), fill, dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        stacked[number, width - len(row) if left else 0 :][: len(row)] = row
    return stacked


def collate(samples: Sequence[Sample], *, image_token: int, left: bool = False) -> Batch:
    """Pad samples into a batch; positions are V2PE's, restarting with every sample."""
    pos = [positions(s.ids_T == image_token, s.delta_T).astype(np.float32) for s in samples]
    tiles = [s.tiles_NHWC for s in samples if s.tiles_NHWC is not None]
    return Batch(
        ids_BT=torch.from_numpy(padded([s.ids_T for s in samples], 0, left=left)),
        mask_BT=torch.from_numpy(padded([np.ones_like(s.ids_T) for s in samples], 0, left=left)),
        pos_BT=torch.from_numpy(padded(pos, 0, left=left)),
        pixels_NCHW=normalise(np.concatenate(tiles)) if tiles else None,
        target_BT=torch.from_numpy(padded([s.target_T for s in samples], 0, left=left)),
        weight_BT=torch.from_numpy(padded([s.weight_T for s in samples], 0, left=left)),
    )
