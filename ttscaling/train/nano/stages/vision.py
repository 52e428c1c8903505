"""Stage 0: train the vision tower and the projector to recognise digits, before any language is learnt.

A tower with random weights learns nothing from a language loss alone (docs/decisions/0008). So two
heads read each visual token, one for its digit and one for its cell of the sheet. Training them takes a
minute, and then they are thrown away.

Shapes: N sheets, C channels, P patches, D width, T visual tokens, V classes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from model.images.tiling import tile_image
from ttscaling.nano_tasks.digits import DigitPool, Split, digit_pool
from ttscaling.nano_tasks.problems import SHARE_OF_LARGE
from ttscaling.nano_tasks.sheets import draw_sheet, random_sheet
from ttscaling.train.nano.network.architecture import TILING, TOKENS_PER_TILE, WIDTH
from ttscaling.train.network.internvl import V2PEInternVL, normalise

from .training_loop import Schedule, train

BATCH = 32  # sheets per process and step


class VisionProbe(nn.Module):
    """The vision path of a model with the two heads, and the sum of their losses with weights 1 and 0.3."""

    def __init__(self, model: V2PEInternVL):
        super().__init__()
        self.vision_tower = model.model.vision_tower
        self.projector = model.model.multi_modal_projector
        self.pixel_shuffle = model.model.pixel_shuffle
        self.digit_head = nn.Linear(WIDTH, 10)
        self.cell_head = nn.Linear(WIDTH, TOKENS_PER_TILE)

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        pixels_NCHW, digit_NT = batch
        hidden_NPD = self.vision_tower(pixel_values=pixels_NCHW).last_hidden_state[:, 1:]
        side = int(hidden_NPD.shape[1] ** 0.5)
        grid_NHWD = self.pixel_shuffle(hidden_NPD.reshape(len(hidden_NPD), side, side, -1), scale_factor=0.5)
        tokens_NTD = self.projector(grid_NHWD.flatten(1, 2))
        digits_NTV, cells_NTV = self.digit_head(tokens_NTD), self.cell_head(tokens_NTD)
        cell_NT = torch.arange(TOKENS_PER_TILE).expand_as(digit_NT)
        loss = F.cross_entropy(digits_NTV.flatten(0, 1), digit_NT.flatten())
        loss = loss + 0.3 * F.cross_entropy(cells_NTV.flatten(0, 1), cell_NT.flatten())
        right = (digits_NTV.argmax(-1) == digit_NT).float().mean().item()
        return loss, {"loss": loss.item(), "read": right}


def draw_batch(pool: DigitPool, rng: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pixels of random sheets, and their digits in the order of the visual tokens.

    A small sheet is its only tile, a large sheet is its thumbnail.
    """
    sheets = [random_sheet(rng) for _ in range(size)]
    pictures = [draw_sheet(sheet, pool, rng, large=bool(rng.random() < SHARE_OF_LARGE)) for sheet in sheets]
    tiles_NHWC = np.stack([tile_image(picture, TILING)[-1] for picture in pictures])
    return normalise(torch.from_numpy(tiles_NHWC)), torch.tensor([sum(sheet.rows, ()) for sheet in sheets])


@torch.no_grad()
def reading_accuracy(probe: VisionProbe, split: Split, *, size: int = 200) -> float:
    """Return the share of digits that the probe reads right on a split's drawings."""
    _, figures = probe(draw_batch(digit_pool(split), np.random.default_rng(1), size))
    return figures["read"]


def train_vision(model: V2PEInternVL, accelerator: Accelerator, *, steps: int, seed: int) -> dict[str, float]:
    """Train the model's vision path in place and return its reading accuracy on held-out drawings."""
    pool = digit_pool("train")
    # Position embeddings start as zeros in transformers. From there the tower doesn't learn positions.
    nn.init.normal_(model.model.vision_tower.embeddings.position_embeddings, std=0.1)
    probe = VisionProbe(model)

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return draw_batch(pool, np.random.default_rng([seed, 0, step, accelerator.process_index]), BATCH)

    schedule = Schedule(steps=steps, peak=2e-3, warmup=min(50, steps // 4 + 1))
    train(probe, batch_at, schedule, accelerator=accelerator, title="vision")
    return {"heldout_reading": reading_accuracy(probe, "heldout")}
