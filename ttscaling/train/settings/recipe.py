"""The settings of a training run."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from model.v2pe import TRAINED_DELTAS

from .pack_limits import PackLimits

Average = Literal["token", "square", "sample"]
"""Weight of a supervised token of a sample that has l of them: 1, 1 / sqrt(l) (InternVL3's) or 1 / l."""


Part = Literal["vision", "projector", "language"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run does with its data, whatever the objective. Raises ValueError for settings that can't be.

    It runs for `steps` optimiser steps, or for `epochs` passes over the data; the other one is None. The
    annotations are what `--help` says.
    """

    steps: Annotated[int | None, "Optimiser steps of the run."] = None
    epochs: Annotated[float | None, "Passes over the data, instead of steps."] = None
    batch: Annotated[int, "Packs of a global batch: of all processes and micro-batches."]
    learning_rate: Annotated[float, "Its peak; a cosine to 0 follows."]
    warmup: Annotated[float, "Share of the run in which the learning rate rises."] = 0.03
    weight_decay: Annotated[float, "AdamW's, on matrices only."] = 0.05
    clip: Annotated[float, "Largest norm of the gradient."] = 1.0
    max_tokens: Annotated[int, "Most tokens of a pack."] = 16384
    max_tiles: Annotated[int, "Most tiles of a pack."] = 48
    open_packs: Annotated[int, "Packs filled at a time: more fill better, and hold more tiles."] = 8
    image_tiles: Annotated[int | None, "Most tiles of an image, instead of the checkpoint's limit."] = None
    average: Annotated[Literal["token", "square", "sample"], "A sample's weight, by its tokens."] = "square"
    deltas: Annotated[tuple[float, ...], "V2PE steps, of which each image draws one: 1,1/2,.."] = (
        TRAINED_DELTAS
    )
    parts: Annotated[tuple[Part, ...], "What is trained of vision,projector,language."] = PARTS
    precision: Annotated[Literal["fp32", "bf16"], "Of the arithmetic; weights are kept in fp32."] = "bf16"
    recompute: Annotated[bool, "Recompute activations in the backward pass: less memory."] = True
    bad_records: Annotated[float, "Share of bad records that is put up with."] = 0.01
    seed: Annotated[int, "Of data order, deltas and augmentation."] = 1

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("say how long the run is: either steps or epochs")
        in_range = {
            "steps": self.steps is None or self.steps >= 1,
            "epochs": self.epochs is None or self.epochs > 0,
            "batch": self.batch >= 1,
            "learning_rate": self.learning_rate > 0,
            "warmup": 0 <= self.warmup <= 1,
            "weight_decay": self.weight_decay >= 0,
            "clip": self.clip > 0,
            "image_tiles": self.image_tiles is None or self.image_tiles >= 1,
            "deltas": bool(self.deltas) and all(0 < delta <= 1 for delta in self.deltas),
            "precision": self.precision in ("fp32", "bf16"),
            "parts": bool(self.parts) and set(self.parts) <= set(PARTS),
            "bad_records": 0 <= self.bad_records <= 1,
        }
        wrong = [f"{name} ({getattr(self, name)})" for name, fits in in_range.items() if not fits]
        if wrong:
            raise ValueError(f"settings out of range: {', '.join(wrong)}")

    @property
    def limits(self) -> PackLimits:
        """Of each pack. Raises ValueError as they do."""
        return PackLimits(max_tokens=self.max_tokens, max_tiles=self.max_tiles, max_open=self.open_packs)

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        settings = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings}
