"""Build tiny random InternVL3 checkpoints in both layouts, for tests that need a complete model.

Every parameter is random and none is near zero. So the logits change if the engine forgets a position
embedding, a layer scale or a bias.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from model.checkpoint.config_layouts import config_to_opengvlab
from model.checkpoint.internlm_tokenizer import checkpoint_tokenizer
from model.checkpoint.tensors import to_opengvlab
from tests.internlm import internlm2_config, internlm2_state, internlm3_config

Layout = Literal["opengvlab", "transformers"]
Vision = Literal["300m", "6b"]
Language = Literal["qwen2", "qwen3", "llama", "internlm2", "internlm3"]

TILE = 56
"""The side of a tile in pixels. A tile has 4 x 4 patches of 14 pixels and therefore 4 tokens."""
MAX_TILES = 6
WINDOW = 2048
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
GROUNDING_TOKENS = ("<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")
# The content of a message may be a string or a list of parts.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<IMG_CONTEXT>\n{% elif part.type == 'video' %}<video>\n"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_checkpoint(
    directory: Path,
    layout: Layout,
    *,
    tied: bool = False,
    seed: int = 0,
    vision: Vision = "300m",
    language: Language = "qwen2",
    tokenizer_files: Path | None = None,
    grounding: bool = False,
) -> Path:
    """Write a checkpoint with tokenizer and generation config into `directory`, and return `directory`.

    The tokenizer is the one in the folder `tokenizer_files`, or else `byte_tokenizer(grounding=grounding)`.
    transformers' layout has no InternLM, so both InternLM models are saved as Llama in it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if tokenizer_files is None:
        tokenizer = byte_tokenizer(grounding=grounding)
        tokenizer.save_pretrained(directory)
    else:
        shutil.copytree(tokenizer_files, directory, dirs_exist_ok=True)
        tokenizer = checkpoint_tokenizer(tokenizer_files)
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    model = random_model(len(tokenizer), context, tied=tied, seed=seed, vision=vision, language=language)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    write_json(directory / "generation_config.json", {"eos_token_id": end, "do_sample": False})
    if layout == "transformers":
        model.generation_config.eos_token_id = end
        model.save_pretrained(directory)
        limits = {"min_patches": 1, "max_patches": MAX_TILES, "crop_to_patches": True}
        write_json(directory / "preprocessor_config.json", limits)
        return directory
    config = config_to_opengvlab(model.config, max_dynamic_patch=MAX_TILES)
    # Published configs name code to download. The tests show that nothing tries to run it.
    config["auto_map"] = {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"}
    state = to_opengvlab(model.state_dict())
    if tied:
        del state["language_model.lm_head.weight"]
    if language == "internlm2":
        config["llm_config"] = internlm2_config(config["llm_config"])
        state = internlm2_state(state, model.config.text_config.num_key_value_heads)
    elif language == "internlm3":
        config["llm_config"] = internlm3_config(config["llm_config"])
    write_json(directory / "config.json", config)
    save_weights(directory, state)
    return directory


def random_model(
    vocab_size: int,
    image_token_id: int,
    *,
    tied: bool,
    seed: int,
    vision: Vision = "300m",
    language: Language = "qwen2",
) -> Any:
    """Return transformers' model with random weights and 2 layers in each part. An InternLM is a Llama."""
    config = InternVLConfig(
        vision_config=_vision_config(vision),
        text_config=_text_config(language, vocab_size=vocab_size, tie_word_embeddings=tied),
        image_token_id=image_token_id,
        image_seq_length=4,
        tie_word_embeddings=tied,
    )
    model = InternVLForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = parameter.shape[-1] ** -0.5 if name.endswith("proj.weight") else 0.2
            # Large weights in the language model's attention make the answers depend on the positions.
            if name.endswith(("q_proj.weight", "k_proj.weight", "o_proj.weight")) and "language" in name:
                scale *= 3
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + scale * noise)
    return model


def _vision_config(vision: Vision) -> InternVLVisionConfig:
    shared: dict[str, Any] = {"num_hidden_layers": 2, "image_size": [TILE, TILE], "patch_size": [14, 14]}
    if vision == "300m":
        return InternVLVisionConfig(
            hidden_size=96, intermediate_size=192, num_attention_heads=4, attention_bias=True, **shared
        )
    return InternVLVisionConfig(
        hidden_size=160,
        intermediate_size=320,
        num_attention_heads=5,  # The published model has 25, which is odd too.
        attention_bias=False,
        use_qk_norm=True,
        norm_type="rms_norm",
        **shared,
    )


def _text_config(language: Language, **more: Any) -> Qwen2Config | Qwen3Config | LlamaConfig:
    # vLLM's CPU attention needs at least 32 channels in a head.
    shared: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "max_position_embeddings": WINDOW,
        "rope_theta": 1e4,
    } | more
    if language == "qwen2":
        return Qwen2Config(num_attention_heads=2, num_key_value_heads=1, **shared)
    if language == "qwen3":  # Heads are wider than their share of the hidden size, as in the published 1B.
        return Qwen3Config(num_attention_heads=4, num_key_value_heads=2, head_dim=32, **shared)
    # There is more than one kv head, because InternLM2 interleaves the groups of query heads.
    return LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **shared | {"hidden_size": 128})


def byte_tokenizer(*, grounding: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each byte and the special tokens; `grounding` adds six."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[*SPECIAL_TOKENS, *(GROUNDING_TOKENS if grounding else ())],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_weights(directory: Path, state: dict[str, torch.Tensor]) -> None:
    """Write a state dict as `model.safetensors`."""
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2))
