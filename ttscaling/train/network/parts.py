"""The three parts of InternVL3: what may be frozen, and what is sharded as a unit."""

from collections.abc import Collection, Mapping

from torch import nn

from ttscaling.train.settings.recipe import Part

from .internvl import V2PEInternVL


def modules_of(model: V2PEInternVL) -> Mapping[Part, tuple[nn.Module, ...]]:
    """The modules of each part; the output head counts as the language model's."""
    return {
        "vision": (model.model.vision_tower,),
        "projector": (model.model.multi_modal_projector,),
        "language": (model.model.language_model, model.lm_head),
    }


def freeze_all_but(model: V2PEInternVL, trained: Collection[Part]) -> None:
    """Only the parameters of these parts get gradients."""
    for part, modules in modules_of(model).items():
        for module in modules:
            module.requires_grad_(part in trained)


def shard_unit_names(model: V2PEInternVL) -> tuple[str, ...]:
    """Class names of the modules that FSDP shards each by itself, whatever the language model.

    Layers and projector, never the language model as a whole: FSDP casts the inputs of its units to bf16, and
    positions above 256 would lose their fractions.
    """
    repeated = (model.model.vision_tower.encoder.layer, model.model.language_model.layers)
    layers = {type(layer).__name__ for stack in repeated for layer in stack}
    return tuple(sorted({*layers, type(model.model.multi_modal_projector).__name__}))
