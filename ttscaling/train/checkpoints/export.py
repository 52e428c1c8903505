"""Write a trained model as a checkpoint that our server and others can load.

The files of the checkpoint that it was trained from are carried over, but not weights and code. The config
keeps its entries if the layout stays the same. If it changes, config and tile limits are translated.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from transformers import InternVLConfig, InternVLForConditionalGeneration

from model.checkpoint.config_file import Layout, described, layout_of
from model.checkpoint.config_layouts import config_to_opengvlab
from model.checkpoint.tensors import to_opengvlab
from model.images.tiling import PIXEL_MEAN, PIXEL_STD

# Files that aren't carried over: weights, their indices, and code.
_LEFT_BEHIND = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.bin.index.json",
    "*.pt",
    "*.pth",
    "*.py",
)
_HEAD = "lm_head.weight"


def export(
    state: Mapping[str, torch.Tensor],
    config: InternVLConfig,
    source: Path,
    directory: Path,
    *,
    layout: Layout,
    dtype: torch.dtype,
    system: str | None = None,
) -> None:
    """Write a checkpoint; `directory` appears when it is complete, and replaces one that was there.

    Args:
        state: the tensors of a `V2PEInternVL` by name, on the CPU.
        config: the model's config.
        source: the checkpoint that the model was trained from.
        directory: the folder to write.
        layout: the layout of the new checkpoint.
        dtype: the type of its weights.
        system: the system message that it was trained with. It goes into the config, where the server finds
            it. None keeps what the source has.
    """
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    state = {name: _compact(tensor.to(dtype)) for name, tensor in state.items()}
    if config.tie_word_embeddings:
        state.pop(_HEAD, None)
    _carry_over(source, unfinished)
    if layout == "opengvlab":
        save_torch_state_dict(to_opengvlab(state), unfinished)
        _write(unfinished / "config.json", _opengvlab_config(config, source, dtype))
    else:
        _save_transformers(state, config, unfinished, dtype)
        if layout_of(source) != layout:
            _write(unfinished / "preprocessor_config.json", _image_processor(source))
        generation = source / "generation_config.json"
        if generation.exists():
            shutil.copy(generation, unfinished)  # This replaces the file that transformers' class wrote.
    if system is not None:
        written = json.loads((unfinished / "config.json").read_text())
        _write(unfinished / "config.json", written | {"system_message": system})
    shutil.rmtree(directory, ignore_errors=True)
    unfinished.rename(directory)


def _carry_over(source: Path, directory: Path) -> None:
    excluded = {path for pattern in _LEFT_BEHIND for path in source.glob(pattern)}
    for path in source.iterdir():
        if path.is_file() and path not in excluded and path.name != "config.json":
            shutil.copy(path, directory)


def _opengvlab_config(config: InternVLConfig, source: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Return the source's config with training's changes, translated if the source has the other layout."""
    own = described(source)
    written = config_to_opengvlab(
        config,
        min_dynamic_patch=own.tiling.min_tiles,
        max_dynamic_patch=own.tiling.max_tiles,
        use_thumbnail=own.tiling.use_thumbnail,
    )
    written["torch_dtype"] = _name(dtype)
    if own.layout == "transformers":
        # The model was trained without a system message, and this layout has one by default.
        return written | {"system_message": ""}
    content = json.loads((source / "config.json").read_text())
    content.pop("auto_map", None)  # The entry names code that isn't carried over.
    tied = {"tie_word_embeddings": config.tie_word_embeddings}
    # The training model holds an InternLM as a Llama, and it is saved as one.
    internlm = content["llm_config"].get("architectures", [""])[0].startswith("InternLM")
    language = written["llm_config"] if internlm else content["llm_config"] | tied
    return content | tied | {"torch_dtype": _name(dtype), "llm_config": language}


def _save_transformers(
    state: dict[str, torch.Tensor], config: InternVLConfig, directory: Path, dtype: torch.dtype
) -> None:
    # transformers' class writes the names and the shards of its layout; it needs no memory for that.
    with torch.device("meta"):
        shell = InternVLForConditionalGeneration(config)
    shell.config.dtype = dtype
    shell.save_pretrained(directory, state_dict=state)


def _image_processor(source: Path) -> dict[str, Any]:
    tiling = described(source).tiling
    return {
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "processor_class": "InternVLProcessor",
        "crop_to_patches": tiling.max_tiles > 1,
        "min_patches": tiling.min_tiles,
        "max_patches": tiling.max_tiles,
        "size": {"height": tiling.tile_size, "width": tiling.tile_size},
        "do_normalize": True,
        "image_mean": list(PIXEL_MEAN),
        "image_std": list(PIXEL_STD),
    }


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in memory of its own.

    Gathered shards may be views of larger memory, which safetensors refuses.
    """
    fills_memory = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if fills_memory and tensor.is_contiguous() else tensor.clone().contiguous()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
