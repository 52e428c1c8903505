"""Count the parameters of a checkpoint's parts, and compute the bytes that their weights take in memory."""

import copy
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import transformers

from .description import num_vision_layers
from .quantization import is_quantized, vision_tower_is_unquantized, weight_format
from .tensor_names import vision_layer


@dataclass(frozen=True, kw_only=True)
class PartSizes:
    """A size of each part of a model, in parameters or in bytes.

    `layers` is the language model without its embeddings and its output head. `head` is 0 if the output head
    is tied to the embeddings.
    """

    vision: int = 0
    projector: int = 0
    layers: int = 0
    embeddings: int = 0
    head: int = 0

    @property
    def total(self) -> int:
        """The sum over the parts."""
        return sum(self.by_part.values())

    @property
    def by_part(self) -> dict[str, int]:
        """The sizes by the names of the fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def parameter_counts(config: transformers.InternVLConfig) -> PartSizes:
    """Return the number of parameters of each part. The modules are built without memory to count them."""
    with torch.device("meta"):
        model = transformers.InternVLForConditionalGeneration(config)
    counts = PartSizes().by_part
    for name, parameter in model.named_parameters():  # a tied head is not listed a second time
        counts[_part(name)] += parameter.numel()
    return PartSizes(**counts)


def weight_bytes(config: transformers.InternVLConfig, *, width: int, folder: Path | None = None) -> PartSizes:
    """Return the bytes that the weights of each part take in memory.

    They are those of the tensors in the folder's safetensors files. If there are none, they are computed from
    the config. Then the output head counts always, because transformers' configs say that it is tied to the
    embeddings, even for models whose head isn't.

    Args:
        config: the checkpoint's config.
        width: the bytes of one unquantised weight, as it is served.
        folder: the checkpoint's folder, if it is on this machine.
    """
    paths = [] if folder is None else sorted(folder.glob("*.safetensors"))
    if paths:
        return _file_bytes(paths, config, width)
    parameters = parameter_counts(_as_served(config)).by_part
    sizes = {part: count * width for part, count in parameters.items()}
    if is_quantized(config):
        form = weight_format(config)
        quantized = ("layers",) if vision_tower_is_unquantized(config) else ("layers", "vision")
        sizes |= {part: round(parameters[part] * form.bytes_per_weight) for part in quantized}
    return PartSizes(**sizes)


def _as_served(config: transformers.InternVLConfig) -> transformers.InternVLConfig:
    """Return the config with an output head of its own, and without the vision layers that never run."""
    config = copy.deepcopy(config)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    config.vision_config.num_hidden_layers = num_vision_layers(config)
    return config


def _file_bytes(paths: list[Path], config: transformers.InternVLConfig, width: int) -> PartSizes:
    """Return the bytes of the tensors in safetensors files, by part. Only the files' headers are read.

    Quantised formats differ in what they store beside the weights, so their tensors count as they are. Those
    of other checkpoints are cast to `width` bytes.
    """
    sizes = PartSizes().by_part
    keeps_width, vision_layers = is_quantized(config), num_vision_layers(config)
    for path in paths:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            layer = vision_layer(name)
            if layer is None or layer < vision_layers:
                begin, end = tensor["data_offsets"]
                sizes[_part(name)] += end - begin if keeps_width else math.prod(tensor["shape"]) * width
    return PartSizes(**sizes)


def _part(name: str) -> str:
    """Return the part that a tensor belongs to, by its name in any layout."""
    modules = name.split(".")
    for part, owners in (
        ("vision", {"vision_model", "vision_tower"}),
        ("projector", {"mlp1", "multi_modal_projector"}),
        ("embeddings", {"embed_tokens", "tok_embeddings"}),
        ("head", {"lm_head", "output"}),
    ):
        if owners.intersection(modules):
            return part
    return "layers"
