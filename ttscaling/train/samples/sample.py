"""Training samples and how they become padded batches.

Shapes: T tokens of a sample, B samples of a batch, R runs of context tokens, N tiles, H x W pixels,
C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ttscaling.train.settings.recipe import Average


@dataclass(frozen=True)
class Sample:
    """One token sequence with what the loss asks at each position.

    `target_T[t]` is the token to predict from position t (usually `ids_T[t + 1]`), `weight_T[t]` its loss
    weight (0 = context only). `deltas` holds the V2PE delta of each run of context tokens.
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
        """The same context with more unsupervised text tokens after it."""
        more_T = np.array(ids, dtype=np.int64)
        return Sample(
            ids_T=np.concatenate([self.ids_T, more_T]),
            target_T=np.concatenate([self.target_T, more_T]),
            weight_T=np.concatenate([self.weight_T, np.zeros(len(ids), np.float32)]),
            deltas=self.deltas,
            tiles_NHWC=self.tiles_NHWC,
        )


def token_weight(num_supervised: int, average: Average) -> float:
    """Weight of each supervised token of a sample that has `num_supervised` (InternVL3 section 2.2).

    Set per sample, before packing; a loss is the weighted sum over the sum of the weights of the whole batch.
    """
    exponent = {"token": 0.0, "square": -0.5, "sample": -1.0}[average]
    return float(max(num_supervised, 1) ** exponent)
