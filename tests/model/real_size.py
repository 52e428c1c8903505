"""Build a checkpoint with the dimensions, names and special tokens of a published size, and random weights.

The vocabulary has its published size and the special tokens have their published ids (Qwen2.5's
151643-151664, and InternVL's after them). The other ids are one token for each byte, and then fillers that no
text contains, because Qwen's merges aren't available offline. With random weights the division into tokens
doesn't matter.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from model.checkpoint.templates import DEFAULT_TEMPLATE, chat_template
from tests.model.size_tensors import tensors
from tests.model.sizes import Layout, Size, config_json

FIRST_SPECIAL = 151643
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>",
    "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<img>", "</img>",
    "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
)  # fmt: skip


def build_real_size(directory: Path, size: Size, layout: Layout, *, seed: int = 0) -> Path:
    """Write the checkpoint with weights in bfloat16, and return the directory.

    The same seed gives the same model only within a layout.
    """
    tokenizer().save_pretrained(directory)
    generator = torch.Generator().manual_seed(seed)
    weights = {name: random_tensor(name, shape, generator) for name, shape in tensors(size, layout).items()}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config_json(size, layout), indent=2))
    # The end token is the wrong one, as in the published file; the server has to correct it.
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": FIRST_SPECIAL}))
    return directory


def random_tensor(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Return noise of a size at which the values of 24 layers neither vanish nor explode."""
    if name.endswith((".ls1", ".ls2", ".lambda_1", ".lambda_2")):
        return torch.full(shape, 0.1, dtype=torch.bfloat16)
    if len(shape) == 1 and name.endswith("weight"):  # It is the weight of a norm.
        return torch.ones(shape, dtype=torch.bfloat16)
    # Large queries and keys make attention, and with it the answer, depend on the positions.
    scale = 0.06 if "language_model" in name and name.endswith(("q_proj.weight", "k_proj.weight")) else 0.02
    return (scale * torch.randn(shape, generator=generator)).to(torch.bfloat16)


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes with the published special tokens, their ids and the chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fillers = [f"filler{number}" for number in range(len(alphabet), FIRST_SPECIAL)]
    vocab = {token: number for number, token in enumerate([*alphabet, *fillers])}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=chat_template(DEFAULT_TEMPLATE),
        clean_up_tokenization_spaces=False,
    )
