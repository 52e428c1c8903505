"""The three parts of InternVL3 for freezing, and the units for sharding."""

from collections.abc import Collection, Mapping

from torch import nn

from ttscaling.train.settings.recipe import Part

from .internvl import V2PEInternVL


def modules_of(model: V2PEInternVL) -> Mapping[Part, tuple[nn.Module, ...]]:
    """Return the modules of each part. The output head belongs to the language model."""
    return {
        "vision": (model.model.vision_tower,),
        "projector": (model.model.multi_modal_projector,),
        "language": (model.model.language_model, model.lm_head),
    }


def freeze_all_but(model: V2PEInternVL, trained: Collection[Part]) -> None:
    """Freeze the parameters of all parts but `trained`."""
    for part, modules in modules_of(model).items():
        for module in modules:
            module.requires_grad_(part in trained)


def shard_unit_names(model: V2PEInternVL) -> tuple[str, ...]:
    """Return the class names of the modules that FSDP shards as units, for any language model.

    They are the layers and the projector. The embeddings and the output head stay with the root.
    """
    repeated = (model.model.vision_tower.encoder.layer, model.model.language_model.layers)
    layers = {type(layer).__name__ for stack in repeated for layer in stack}
    return tuple(sorted({*layers, type(model.model.multi_modal_projector).__name__}))
