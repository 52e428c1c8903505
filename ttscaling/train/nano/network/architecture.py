"""Build the nano models, and save and load their checkpoints in the OpenGVLab layout."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    InternVLConfig,
    InternVLVisionConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from model.checkpoint.config_layouts import config_to_opengvlab, config_to_transformers
from model.checkpoint.tensors import to_opengvlab, to_transformers
from model.image_tokens import IMAGE_CONTEXT
from model.images.tiling import TilingConfig
from ttscaling.train.network.internvl import V2PEInternVL

TILE = 84  # pixels a side: 6 x 6 patches of 14 pixels, or 3 x 3 visual tokens after the pixel-unshuffle
TOKENS_PER_TILE = 9
CONTEXT = 8192  # positions
VOCAB = 416  # the tokenizer's size rounded up to a multiple of 32
WIDTH = 96
POLICY_LAYERS = 3
CRITIC_LAYERS = 5
TILING = TilingConfig(tile_size=TILE, min_tiles=1, max_tiles=6, use_thumbnail=True)


def nano_config(tokenizer: PreTrainedTokenizerFast, *, num_layers: int) -> InternVLConfig:
    """Return the config of a small InternVL3: InternViT with layer scale, 2-layer MLP and Qwen2.

    `num_layers` is the number of layers of the language model. A head is 32 wide, the smallest width that
    vLLM's CPU attention supports.
    """
    vision = InternVLVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=WIDTH // 32,
        image_size=[TILE, TILE],
        patch_size=[14, 14],
        attention_bias=True,
        norm_type="layer_norm",
        layer_scale_init_value=1.0,  # InternViT's 0.1 suits deep towers that start from trained weights
        use_absolute_position_embeddings=True,
        use_mean_pooling=True,
    )
    text = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=num_layers,
        num_attention_heads=WIDTH // 32,
        num_key_value_heads=WIDTH // 32,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_CONTEXT),
        image_seq_length=TOKENS_PER_TILE,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )


def new_model(config: InternVLConfig, *, seed: int) -> V2PEInternVL:
    """Return a model whose random weights follow from the seed; this seeds torch's global generator."""
    torch.manual_seed(seed)
    return V2PEInternVL(config)


def save_checkpoint(
    model: V2PEInternVL,
    tokenizer: PreTrainedTokenizerFast,
    directory: Path,
    *,
    sampling: dict[str, float],
) -> None:
    """Write a checkpoint in the OpenGVLab layout, which the server and transformers load.

    It has the weights, the config, the tokenizer with its chat template, and a `generation_config.json` with
    the sampling defaults `sampling`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in to_opengvlab(model.state_dict()).items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = config_to_opengvlab(
        model.config, max_dynamic_patch=TILING.max_tiles, use_thumbnail=TILING.use_thumbnail
    )
    # nano is trained without a system message. Without this field the official default message would apply.
    write_json(directory / "config.json", config | {"system_message": ""})
    tokenizer.save_pretrained(directory)
    write_json(
        directory / "generation_config.json",
        {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "do_sample": True}
        | sampling,
    )


def load_checkpoint(directory: Path) -> V2PEInternVL:
    """Return the model of a checkpoint in evaluation mode.

    It doesn't use `ttscaling.train.checkpoints.load.load_model`, because nano's recipe depends on the state
    of torch's generator: this function draws random weights first, and later draws follow from that.
    """
    config = json.loads((directory / "config.json").read_text())
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    image_token = tokenizer.convert_tokens_to_ids(IMAGE_CONTEXT)
    model = V2PEInternVL(InternVLConfig(**config_to_transformers(config, image_token)))
    model.load_state_dict(to_transformers(load_file(directory / "model.safetensors")))
    return model.eval()


def write_json(path: Path, content: object) -> None:
    """Write indented JSON with a final newline; the keys keep their order."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
