"""A training sample: a token sequence with its targets, loss weights, deltas and tiles.

Shapes: T tokens, N tiles, H x W pixels, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ttscaling.train.settings.recipe import Average


@dataclass(frozen=True)
class Sample:
    """A token sequence with a target and a loss weight at each position.

    `target_T[t]` is the token to predict from position t (usually `ids_T[t + 1]`), and `weight_T[t]` is its
    loss weight; 0 means that the position is only context. `deltas` holds the V2PE delta of each image, which
    is a run of context tokens. `tiles_NHWC` holds the tiles of all images, or is None.
    """

    ids_T: np.ndarray
    target_T: np.ndarray
    weight_T: np.ndarray
    deltas: tuple[float, ...]
    tiles_NHWC: np.ndarray | None

    @property
    def num_tokens(self) -> int:
        return len(self.ids_T)

    @property
    def num_tiles(self) -> int:
        return 0 if self.tiles_NHWC is None else len(self.tiles_NHWC)

    def followed_by(self, ids: Sequence[int]) -> "Sample":
        """Return this sample with more text tokens after it, which aren't supervised."""
        more_T = np.array(ids, dtype=np.int64)
        return Sample(
            ids_T=np.concatenate([self.ids_T, more_T]),
            target_T=np.concatenate([self.target_T, more_T]),
            weight_T=np.concatenate([self.weight_T, np.zeros(len(ids), np.float32)]),
            deltas=self.deltas,
            tiles_NHWC=self.tiles_NHWC,
        )


def token_weight(num_supervised: int, average: Average) -> float:
    """Return the weight of each supervised token of a sample that has `num_supervised` of them.

    It is 1 for "token", 1 / sqrt(num_supervised) for "square" and 1 / num_supervised for "sample" (InternVL3
    section 2.2). Weights are set per sample, before packing. A loss is the weighted sum of a batch, divided
    by the sum of the batch's weights.
    """
    exponent = {"token": 0.0, "square": -0.5, "sample": -1.0}[average]
    return float(max(num_supervised, 1) ** exponent)
