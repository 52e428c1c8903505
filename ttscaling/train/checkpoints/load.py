"""Load a published checkpoint, of any layout and size, into the training model."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import init_empty_weights
from transformers import InternVLConfig

from model.checkpoint.config_file import described
from model.checkpoint.config_layouts import config_to_transformers
from model.checkpoint.internlm_tokenizer import checkpoint_tokenizer
from model.checkpoint.tensor_names import opengvlab_name
from model.checkpoint.tensors import stream_to_opengvlab, to_transformers
from model.image_tokens import image_tokens
from ttscaling.train.network.internvl import V2PEInternVL

from .files import opened_weights

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def load_model(directory: Path, *, dtype: torch.dtype) -> V2PEInternVL:
    """Return the model in `directory`, on the CPU and in evaluation mode.

    Raises:
        ValueError: the checkpoint lacks tensors, or has unknown ones or ones of another shape; the message
            names them. Or the checkpoint's `ps_version` names a pixel-unshuffle that the training network
            does not have.
    """
    config = _config(directory)
    state_dict = to_transformers(dict(stream_to_opengvlab(_tensors(directory), config.text_config)))
    model, report = V2PEInternVL.from_pretrained(
        None, config=config, state_dict=state_dict, dtype=dtype, output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            raise ValueError(
                f"{directory.name} has {problem.replace('_', ' ')} {sorted(report[problem])}: "
                "use a complete checkpoint of an InternVL model"
            )
    return model.eval()


def empty_model(directory: Path) -> V2PEInternVL:
    """Return the model of `directory` with empty parameters, for weights that come from another process.

    The parameters are on the CPU, not on the meta device, because accelerate tells parameters apart by their
    addresses. They take up no memory until they are written.
    """
    with init_empty_weights(include_buffers=False):
        model = V2PEInternVL(_config(directory))
    model._apply(lambda tensor: torch.empty_like(tensor, device="cpu") if tensor.is_meta else tensor)
    model.tie_weights()
    return model.eval()


def _config(directory: Path) -> InternVLConfig:
    if described(directory).transposes_tiles:
        raise ValueError(
            f"{directory.name} has ps_version v1, or names none, which means v1 too: training supports v2 "
            "alone, so use a checkpoint such as InternVL3's"
        )
    content = json.loads((directory / "config.json").read_text())
    # Only the tokenizer is sure to know the id of the context token. OpenGVLab's layout doesn't hold it, and
    # transformers' converter writes InternLM2's id for every Llama.
    tokenizer = checkpoint_tokenizer(directory)
    context = image_tokens(tokenizer).context
    if "llm_config" in content:
        content = config_to_transformers(content, context)
    config = InternVLConfig(**content | {"image_token_id": context})
    if len(tokenizer) > config.text_config.vocab_size:
        raise ValueError(
            f"the tokenizer in {directory} has {len(tokenizer)} tokens, and the model has embeddings for "
            f"{config.text_config.vocab_size}: use the tokenizer files that belong to the checkpoint"
        )
    # transformers' configs say "tied" by default, even for models whose embeddings aren't tied.
    config.tie_word_embeddings = config.tie_word_embeddings and not _has_head(directory)
    return config


def _has_head(directory: Path) -> bool:
    names: list[str] = []
    for shard in directory.glob("*.safetensors"):
        with opened_weights(shard) as file:
            names += file.keys()
    return any(opengvlab_name(name) == "language_model.lm_head.weight" for name in names)


def _tensors(directory: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for shard in sorted(directory.glob("*.safetensors")):
        with opened_weights(shard) as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                yield name, file.get_tensor(name)


def weights_dtype(checkpoint: Path) -> torch.dtype:
    """Return the type of a checkpoint's weights, which is that of its first floating-point tensor.

    Raises:
        ValueError: the checkpoint has no such tensor in safetensors files.
    """
    for shard in sorted(checkpoint.glob("*.safetensors")):
        with opened_weights(shard) as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                dtype = _DTYPES.get(file.get_slice(name).get_dtype())
                if dtype is not None:
                    return dtype
    raise ValueError(f"{checkpoint} has no weights in safetensors files: convert it first")
