"""The published hyper-parameters of each kind of training and each size of the model.

The sources are OpenGVLab/InternVL `shell/internvl3.0/2nd_finetune` for fine-tuning a released checkpoint,
`shell/internvl3.0/mpo` for preferences, and VisualPRM (arXiv 2503.10291 section 6) for the critic. No
learning rate, batch or number of steps is published for InternVL3's pre-training. The nearest published
values are those of InternVL2.5's second stage (`shell/internvl2.5`: all parts trained, 512 packs a step). A
size that InternVL2.5 doesn't have takes the values of the next larger size.
"""

from typing import Literal, get_args

from .kinds import Kind
from .recipe import Recipe

Size = Literal["1B", "2B", "8B", "9B", "14B", "38B", "78B"]
SIZES: tuple[Size, ...] = get_args(Size)

_SMALL: tuple[Size, ...] = ("1B", "2B")
_LARGE: tuple[Size, ...] = ("14B", "38B", "78B")
_LARGEST: tuple[Size, ...] = ("38B", "78B")


def published(kind: Kind, size: Size) -> Recipe:
    """Return the recipe for a kind of training and a published size.

    A batch is published as 256 or 512 pairs of preferences, and as 128 samples of fine-tuning. Here it counts
    packs. A pack holds several pairs, or about four samples with an image of 12 tiles.
    """
    if kind == "sft":
        return Recipe(
            epochs=1,
            batch=32,
            learning_rate=1e-5 if size == "1B" else 2e-5,
            parts=("projector", "language"),
        )
    if kind == "mpo":
        return Recipe(
            epochs=1,
            batch=128 if size in _LARGEST else 64,
            learning_rate=2e-7,
            max_tokens=8192 if size in _LARGEST else 12288,
        )
    if kind == "critic":
        return Recipe(epochs=1, batch=64, learning_rate=1e-5, warmup=0.05)
    return Recipe(
        steps=22000 if size in _SMALL else 5500,
        batch=512,
        learning_rate=2e-5 if size in _LARGE else 4e-5,
        weight_decay=0.01 if size in _SMALL else 0.05,
    )
