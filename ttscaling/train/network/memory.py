"""Estimate by arithmetic how much memory a training step takes on each device.

Weights, gradients and AdamW's two moments are fp32 and sharded (FSDP2, `recipes/fsdp2.yaml`). The weights for
the computation are gathered unit by unit, and the gradients of a unit are whole until they are reduced to the
shards. The memory of attention kernels and of the allocator isn't counted, so leave a tenth free.
With LoRA only the adapters have gradients and moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import InternVLConfig

from model.checkpoint.parameters import parameter_counts
from ttscaling.train.settings.recipe import Part, Recipe

from .internvl import V2PEInternVL
from .log_probs import CHUNK
from .lora import add_adapters
from .parts import freeze_all_but, shard_unit_names

_FP32 = 4
_MOMENTS = 2


@dataclass(frozen=True)
class Memory:
    """The memory of a training step on one device, in bytes.

    `weights`, `gradients` and `optimizer` are held from step to step, and `gathered` during a micro-batch.
    `gathered` are the weights for the computation. The others come one after the other within a micro-batch:
    `activations` with the `logits`, then with the whole gradients of a layer (`layer_gradients`), and in the
    end only the whole gradients of what isn't in any layer (`root_gradients`).
    """

    weights: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int
    layer_gradients: int
    root_gradients: int

    @property
    def held(self) -> int:
        """Return what is held from step to step."""
        return self.weights + self.gradients + self.optimizer

    @property
    def peak(self) -> int:
        """Return the most that is held at one time."""
        backward = self.activations + max(self.logits, self.layer_gradients)
        return self.held + self.gathered + max(backward, self.root_gradients)


def parameters(config: InternVLConfig) -> Mapping[Part, int]:
    """Return the number of parameters of each part. A tied output head counts once."""
    counts = parameter_counts(config)
    language = counts.layers + counts.embeddings + counts.head
    return {"vision": counts.vision, "projector": counts.projector, "language": language}


def memory(config: InternVLConfig, recipe: Recipe, *, devices: int) -> Memory:
    """Return the memory that one device needs for a step of a recipe.

    Args:
        config: transformers' config of the model.
        recipe: the settings of the run.
        devices: the number of devices over which the model is sharded.
    """
    model = _skeleton(config, recipe)
    frozen_width = _FP32
    if recipe.lora_rank is not None:
        # FSDP keeps all weights of a unit in one type. Without it the frozen weights of a bf16 run are bf16.
        frozen_width = 2 if recipe.precision == "bf16" and devices == 1 else _FP32
    names = shard_unit_names(model)
    units = [module for module in model.modules() if type(module).__name__ in names]
    unit_sizes, trained_sizes = [_count(unit) for unit in units], [_count_trained(unit) for unit in units]
    model_size, trained_size = _count(model), _count_trained(model)
    width = 2 if recipe.precision == "bf16" else _FP32
    # On one device, autocast keeps a copy of every fp32 weight until the forward pass ends.
    gathered = (model_size if frozen_width == _FP32 else trained_size) * width if width < _FP32 else 0
    layer_gradients = root_gradients = 0
    if devices > 1:
        # The root stays gathered. One unit is in use while the next one is being gathered.
        gathered = (model_size - sum(unit_sizes) + 2 * max(unit_sizes)) * width
        # Gradients are computed in the width of the computation, and copied into a fp32 buffer to be reduced.
        layer_gradients = max(trained_sizes) * (width + _FP32)
        root_gradients = (trained_size - sum(trained_sizes)) * (width + _FP32)
    return Memory(
        weights=((model_size - trained_size) * frozen_width + trained_size * _FP32) // devices,
        gradients=trained_size * _FP32 // devices,
        optimizer=trained_size * (1 if recipe.optimizer == "adamw8bit" else _FP32) * _MOMENTS // devices,
        gathered=gathered,
        activations=_activations(config, recipe, width),
        # The logits as computed, their fp32 copy, and the gradient of the copy.
        logits=min(recipe.max_tokens, CHUNK) * config.text_config.vocab_size * (width + 2 * _FP32),
        layer_gradients=layer_gradients,
        root_gradients=root_gradients,
    )


def state_bytes(config: InternVLConfig, recipe: Recipe) -> int:
    """Return the bytes of a saved state on the disk: all weights, and the moments of the trained ones."""
    model = _skeleton(config, recipe)
    return _count(model) * _FP32 + _count_trained(model) * _FP32 * _MOMENTS


def host_bytes(config: InternVLConfig, recipe: Recipe, *, devices: int) -> int:
    """Return the most bytes of tiles that one of `devices` processes holds in the memory of its machine.

    These are the tiles of the open packs of its streams, and of the packs of two steps. Weights aren't
    counted: while a sharded run begins, the main process holds all of them in fp32.
    """
    side = config.vision_config.image_size[0]
    own_packs = recipe.num_streams * (recipe.open_packs + 1) + 2 * recipe.batch
    return -(-own_packs // devices) * recipe.max_tiles * 3 * side**2


def _activations(config: InternVLConfig, recipe: Recipe, width: int) -> int:
    """Return the bytes of activations that the backward pass needs.

    These are all activations of each layer, or with recomputation each layer's input and all activations of
    one layer.
    """
    vision, text = config.vision_config, config.text_config
    patches = (vision.image_size[0] // vision.patch_size[0]) ** 2 + 1
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = (text.num_attention_heads + 2 * text.num_key_value_heads) * head
    text_tokens, vision_tokens = recipe.max_tokens, recipe.max_tiles * patches
    language = _Stack(
        layers=text.num_hidden_layers,
        inputs=text_tokens * text.hidden_size,
        # Two norms in fp32 (input and output), residuals, q, k, v, attention's output, gate, up, product.
        inner=text_tokens * (8 * text.hidden_size + heads + 4 * text.intermediate_size),
    )
    tower = _Stack(
        layers=vision.num_hidden_layers,
        inputs=vision_tokens * vision.hidden_size,
        inner=vision_tokens * (12 * vision.hidden_size + 2 * vision.intermediate_size),
    )
    pixels = recipe.max_tiles * 3 * vision.image_size[0] ** 2 * _FP32
    return pixels + width * sum(stack.kept(recompute=recipe.recompute) for stack in (language, tower))


@dataclass(frozen=True)
class _Stack:
    """A stack of equal layers, and how many numbers a layer has in its input and in its inner activations."""

    layers: int
    inputs: int
    inner: int

    def kept(self, *, recompute: bool) -> int:
        if recompute:
            return self.layers * self.inputs + self.inner
        return self.layers * (self.inputs + self.inner)


def _skeleton(config: InternVLConfig, recipe: Recipe) -> V2PEInternVL:
    """Return the model without memory, with the recipe's adapters and its frozen parts."""
    with torch.device("meta"):
        model = V2PEInternVL(config)
        freeze_all_but(model, recipe.parts)
        if recipe.lora_rank is not None:
            add_adapters(model, recipe)
    return model


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count_trained(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
