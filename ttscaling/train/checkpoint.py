"""Loading a published checkpoint, of any layout and size, into the training model."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, InternVLConfig

from model.layouts import config_to_transformers
from model.prompt import image_tokens
from model.weights import stream_to_opengvlab, to_transformers

from .model import V2PEInternVL


def load_model(directory: Path, *, dtype: torch.dtype) -> V2PEInternVL:
    """The model in `directory`, on the CPU, set to evaluation.

    Raises:
        ValueError: the checkpoint lacks tensors or has unknown ones; the message names them.
    """
    config = _config(directory)
    state_dict = to_transformers(dict(stream_to_opengvlab(_tensors(directory), config.text_config)))
    # transformers' configs say "tied" by default, also of models that aren't.
    config.tie_word_embeddings = config.tie_word_embeddings and "lm_head.weight" not in state_dict
    model, report = V2PEInternVL.from_pretrained(
        None, config=config, state_dict=state_dict, dtype=dtype, output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            raise ValueError(f"{directory.name} has {problem.replace('_', ' ')}: {sorted(report[problem])}")
    return model.eval()


def _config(directory: Path) -> InternVLConfig:
    config = json.loads((directory / "config.json").read_text())
    if "llm_config" in config:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
        config = config_to_transformers(config, image_tokens(tokenizer).context)
    return InternVLConfig(**config)


def _tensors(directory: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for shard in sorted(directory.glob("*.safetensors")):
        yield from load_file(shard).items()
