"""Shared by the tests of samples: an encoder of bytes, images in a folder, and a tiny model."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.images.tiling import TilingConfig
from tests.checkpoints import TILE, byte_tokenizer, random_model
from ttscaling.records.meta import DataSet
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.samples.chat_encoder import ChatEncoder
from ttscaling.train.samples.chat_samples import Preparation

TOKENS_PER_TILE = 4


def preparation(**changes: Any) -> Preparation:
    """Return a preparation with tiles of 56 pixels, up to 3 tiles and a thumbnail, and no system message."""
    settings: dict[str, Any] = {
        "encoder": ChatEncoder(byte_tokenizer(), tokens_per_tile=TOKENS_PER_TILE, system=None),
        "tiling": TilingConfig(TILE, min_tiles=1, max_tiles=3, use_thumbnail=True),
    }
    return Preparation(**settings | changes)


def data_set(root: Path, *, name: str = "set", **changes: Any) -> DataSet:
    """Return a data set with the images `wide.png` (2 tiles and a thumbnail) and `square.png` (1 tile)."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for image, size in (("wide.png", (112, 56)), ("square.png", (56, 56))):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(root / image)
    return DataSet(name=name, root=root, annotation=root / f"{name}.jsonl", **changes)


def tiny_model() -> V2PEInternVL:
    """Return a model with random weights. None is near zero, so positions and masks change the logits."""
    tokenizer = byte_tokenizer()
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    random = random_model(len(tokenizer), context, tied=False, seed=0)
    model = V2PEInternVL(random.config)
    model.load_state_dict(random.state_dict())
    return model.eval()
