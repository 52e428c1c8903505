"""How much memory a training step takes on each device: arithmetic, before anything is started.

Weights, gradients and AdamW's two moments are fp32 and sharded (FSDP2, `recipes/fsdp2.yaml`); what is
computed with is gathered unit by unit. What attention kernels and the allocator take on top isn't counted:
leave a tenth.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import InternVLConfig

from ttscaling.train.settings.recipe import Part, Recipe

from .internvl import V2PEInternVL
from .log_probs import CHUNK
from .parts import modules_of, shard_unit_names

_FP32 = 4
_MOMENTS = 2


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.gathered + self.activations + self.logits


def parameters(config: InternVLConfig) -> Mapping[Part, int]:
    """Numbers of parameters of the three parts; a tied output head counts once."""
    parts = modules_of(_skeleton(config))
    return {part: _count(nn.ModuleList(modules)) for part, modules in parts.items()}


def memory(config: InternVLConfig, recipe: Recipe, *, devices: int) -> Memory:
    """What one device needs for a step of a recipe.

    Args:
        config: transformers' config of the model.
        recipe: the run's settings.
        devices: over how many the model is sharded.
    """
    model = _skeleton(config)
    each = {part: _count(nn.ModuleList(modules)) for part, modules in modules_of(model).items()}
    everything, trained = sum(each.values()), sum(each[part] for part in recipe.parts)
    names = shard_unit_names(model)
    unit_sizes = [_count(module) for module in model.modules() if type(module).__name__ in names]
    width = 2 if recipe.precision == "bf16" else _FP32
    gathered = 0
    if devices > 1:
        # The root stays gathered; of the units one is in use and the next on its way.
        gathered = (everything - sum(unit_sizes) + 2 * max(unit_sizes)) * width
    return Memory(
        weights=everything * _FP32 // devices,
        gradients=trained * _FP32 // devices,
        optimizer=trained * _FP32 * _MOMENTS // devices,
        gathered=gathered,
        activations=_activations(config, recipe, width),
        # As computed, as fp32, and the gradient of that.
        logits=min(recipe.max_tokens, CHUNK) * config.text_config.vocab_size * (width + 2 * _FP32),
    )


def _activations(config: InternVLConfig, recipe: Recipe, width: int) -> int:
    """What the backward pass needs: all of every layer, or every layer's input and all of one."""
    vision, text = config.vision_config, config.text_config
    patches = (vision.image_size[0] // vision.patch_size[0]) ** 2 + 1
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = (text.num_attention_heads + 2 * text.num_key_value_heads) * head
    tokens, seen = recipe.max_tokens, recipe.max_tiles * patches
    language = _Stack(
        layers=text.num_hidden_layers,
        inputs=tokens * text.hidden_size,
        # Two norms in fp32 (input and output), residuals, q k v, attention's output; gate, up, their product.
        inner=tokens * (8 * text.hidden_size + heads + 4 * text.intermediate_size),
    )
    tower = _Stack(
        layers=vision.num_hidden_layers,
        inputs=seen * vision.hidden_size,
        inner=seen * (12 * vision.hidden_size + 2 * vision.intermediate_size),
    )
    pixels = recipe.max_tiles * 3 * vision.image_size[0] ** 2 * _FP32
    return pixels + width * sum(stack.kept(recompute=recipe.recompute) for stack in (language, tower))


@dataclass(frozen=True)
class _Stack:
    """Layers alike; numbers that each keeps: of its input, and of what is within."""

    layers: int
    inputs: int
    inner: int

    def kept(self, *, recompute: bool) -> int:
        if recompute:
            return self.layers * self.inputs + self.inner
        return self.layers * (self.inputs + self.inner)


def _skeleton(config: InternVLConfig) -> V2PEInternVL:
    with torch.device("meta"):
        return V2PEInternVL(config)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
