"""The settings of a training run."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from model.v2pe import TRAINED_DELTAS

from .pack_limits import PackLimits

Average = Literal["token", "square", "sample"]
"""How a supervised token is weighted in a sample that has l supervised tokens.

The weight is 1 for `token`, 1 / sqrt(l) for `square`, which InternVL3 uses, and 1 / l for `sample`.
"""


_STREAMS = 64

Part = Literal["vision", "projector", "language"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run that all objectives share. Raises ValueError for settings out of range.

    A run takes `steps` optimiser steps or `epochs` passes over the data, and the other one is None. The texts
    in the annotations are the help texts of the commands.
    """

    steps: Annotated[int | None, "Number of optimiser steps of the run."] = None
    epochs: Annotated[
        float | None,
        "Number of exact passes over the data, in place of steps. A part of a pass is a random part.",
    ] = None
    batch: Annotated[int, "Packs in a global batch, over all processes and micro-batches."]
    learning_rate: Annotated[float, "Peak learning rate; after the peak it falls to 0 along a cosine."]
    warmup: Annotated[float, "Share of the run during which the learning rate rises."] = 0.03
    weight_decay: Annotated[float, "Weight decay of AdamW; it acts on matrices only."] = 0.05
    clip: Annotated[float, "Largest norm of the gradient; a larger gradient is scaled down to it."] = 1.0
    max_tokens: Annotated[int, "Most tokens in a pack."] = 16384
    max_tiles: Annotated[int, "Most tiles in a pack."] = 48
    open_packs: Annotated[
        int,
        "Packs that are filled at the same time. A larger number fills them better and takes more memory.",
    ] = 8
    streams: Annotated[
        int | None,
        "Streams that read the data: a divisor of the batch and a multiple of the number of processes. More "
        "streams take more memory on the host. By default the largest divisor of the batch up to 64.",
    ] = None
    image_tiles: Annotated[int | None, "Most tiles of an image, in place of the checkpoint's limit."] = None
    average: Annotated[
        Literal["token", "square", "sample"],
        "Weight of a token in a sample of n target tokens: 1 (token), 1/sqrt(n) (square) or 1/n (sample).",
    ] = "square"
    deltas: Annotated[
        tuple[float, ...], "V2PE deltas with commas, like 1,1/2,0.25. One is drawn at random for each image."
    ] = TRAINED_DELTAS
    parts: Annotated[
        tuple[Part, ...], "Parts of the model to train, with commas: vision, projector, language."
    ] = PARTS
    lora_rank: Annotated[
        int | None,
        "Rank of LoRA adapters on the language model. All else is frozen. By default there are no adapters.",
    ] = None
    lora_alpha: Annotated[
        float | None, "Factor of the adapters, which is divided by the rank. By default twice the rank."
    ] = None
    optimizer: Annotated[
        Literal["adamw", "adamw8bit"],
        "Optimiser: AdamW, or with its moments in 8 bits, for which bitsandbytes must be installed.",
    ] = "adamw"
    precision: Annotated[
        Literal["fp32", "bf16"], "Precision of the arithmetic. The weights are kept in fp32."
    ] = "bf16"
    recompute: Annotated[
        bool, "Compute activations again in the backward pass, which takes less memory and more time."
    ] = True
    bad_records: Annotated[float, "Largest share of bad records, 0 to 1. Above it the run stops."] = 0.01
    seed: Annotated[int, "Seed of the order of the data, the deltas and the augmentation."] = 1

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("the length of the run isn't clear: give either steps or epochs")
        in_range = {
            "steps": self.steps is None or self.steps >= 1,
            "epochs": self.epochs is None or self.epochs > 0,
            "batch": self.batch >= 1,
            "streams": self.streams is None or (self.streams >= 1 and self.batch % self.streams == 0),
            "learning_rate": self.learning_rate > 0,
            "warmup": 0 <= self.warmup <= 1,
            "weight_decay": self.weight_decay >= 0,
            "clip": self.clip > 0,
            "image_tiles": self.image_tiles is None or self.image_tiles >= 1,
            "deltas": bool(self.deltas) and all(0 < delta <= 1 for delta in self.deltas),
            "lora_rank": self.lora_rank is None or self.lora_rank >= 1,
            "lora_alpha": self.lora_alpha is None or self.lora_alpha > 0,
            "optimizer": self.optimizer in ("adamw", "adamw8bit"),
            "precision": self.precision in ("fp32", "bf16"),
            "parts": bool(self.parts) and set(self.parts) <= set(PARTS),
            "bad_records": 0 <= self.bad_records <= 1,
        }
        wrong = [f"{name} ({getattr(self, name)})" for name, fits in in_range.items() if not fits]
        if wrong:
            raise ValueError(f"settings out of range: {', '.join(wrong)}")
        if self.lora_rank is None and self.lora_alpha is not None:
            raise ValueError("lora_alpha has no effect without adapters: set lora_rank too")
        if self.lora_rank is not None and self.parts != ("language",):
            raise ValueError(
                "LoRA adapters train the language model alone: leave parts out, or set it to language"
            )

    @property
    def num_streams(self) -> int:
        """Return the number of streams of the run. A global batch has the same number of packs from each."""
        divisors = (n for n in range(1, min(self.batch, _STREAMS) + 1) if self.batch % n == 0)
        return self.streams or max(divisors)

    @property
    def limits(self) -> PackLimits:
        """Return the limits of each pack. Raises ValueError for a limit below 1."""
        return PackLimits(max_tokens=self.max_tokens, max_tiles=self.max_tiles, max_open=self.open_packs)

    @property
    def lora_scale(self) -> float | None:
        """Return by what the product of the adapters' matrices is multiplied, or None without adapters."""
        if self.lora_rank is None:
            return None
        return 2.0 if self.lora_alpha is None else self.lora_alpha / self.lora_rank

    def as_json(self) -> dict[str, Any]:
        """Return the settings with JSON's types, so tuples become lists."""
        settings = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings}
