"""Write LoRA adapters as peft does, so that peft and the server load them."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file

from model.checkpoint.config_file import layout_of
from model.checkpoint.tensor_names import opengvlab_name
from ttscaling.train.network.lora import adapter_tensors

_PREFIX = "base_model.model."  # peft's name of the model that it has wrapped


def export_adapter(
    state: Mapping[str, torch.Tensor], config: LoraConfig, source: Path, directory: Path
) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`; the folder appears when it is complete.

    Args:
        state: the tensors of a `V2PEInternVL` with adapters by name, on the CPU.
        config: what `lora_config` returned for the model.
        source: the checkpoint that the adapters belong to. Their tensors have the names of its layout.
        directory: the folder to write. One that was there is replaced.
    """
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    opengvlab = layout_of(source) == "opengvlab"
    tensors = {
        _PREFIX + (opengvlab_name(name) if opengvlab else name): tensor.clone().contiguous()
        for name, tensor in adapter_tensors(state).items()
    }
    save_file(tensors, unfinished / "adapter_model.safetensors", metadata={"format": "pt"})
    replace(config, base_model_name_or_path=str(source), inference_mode=True).save_pretrained(str(unfinished))
    shutil.rmtree(directory, ignore_errors=True)
    unfinished.rename(directory)
