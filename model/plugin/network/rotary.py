"""The rotary embedding at V2PE's positions."""

import torch
from torch import nn

from model.v2pe import decode


def _rotate(heads: torch.Tensor, cos_T1F: torch.Tensor, sin_T1F: torch.Tensor) -> torch.Tensor:
    half = cos_T1F.shape[-1]
    first, second = heads.unflatten(-1, (-1, 2 * half)).to(torch.float32).split(half, dim=-1)
    rotated = torch.cat([first * cos_T1F - second * sin_T1F, second * cos_T1F + first * sin_T1F], dim=-1)
    return rotated.flatten(-2).to(heads.dtype)


class V2PERotary(nn.Module):
    """The rotary embedding at fractional positions, with the plain base, because V2PE has no dynamic NTK.

    The angles are computed from the positions in float32, without a table that limits the length of a prompt.
    """

    frequency_F: torch.Tensor

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        # The powers are computed on the CPU, because devices differ in the last bits and every checkpoint was
        # trained on the CPU's values.
        exponent_F = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
        self.register_buffer(
            "frequency_F", (1.0 / theta**exponent_F).to(torch.get_default_device()), persistent=False
        )

    def forward(
        self, positions_3T: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `query` (T, heads * head_dim) and `key`, rotated by positions from `model.v2pe.encode`."""
        position_T = decode(positions_3T.to(torch.float32))
        angle_TF = position_T[:, None] * self.frequency_F
        cos_T1F, sin_T1F = angle_TF.cos()[:, None], angle_TF.sin()[:, None]
        return _rotate(query, cos_T1F, sin_T1F), _rotate(key, cos_T1F, sin_T1F)
