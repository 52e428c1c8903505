"""Configs of both layouts give the same description, and unsupported ones are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers

from model.checkpoint.config import InternVLChatConfig, InternVLConfig
from model.checkpoint.description import Checkpoint, VisionShape, read_checkpoint
from model.checkpoint.templates import system_message
from model.images.tiling import TilingConfig
from tests.checkpoints import MAX_TILES, TILE, WINDOW

EXPECTED = Checkpoint(
    layout="opengvlab",
    vision=VisionShape(
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=TILE,
        patch_size=14,
        qkv_bias=True,
        qk_normalization=False,
        norm_type="layer_norm",
        layer_norm_eps=1e-6,
        hidden_act="gelu",
    ),
    tiling=TilingConfig(TILE, 1, MAX_TILES, use_thumbnail=True),
    downsample_ratio=0.5,
    transposes_tiles=False,
    tokens_per_tile=4,
    window=WINDOW,
    v2pe_delta=1.0,
    template="internvl2_5",
    system_message=system_message("internvl2_5"),
)


def chat_config(directory: Path, **changes: Any) -> InternVLChatConfig:
    content = json.loads((directory / "config.json").read_text())
    return InternVLChatConfig.from_dict(content | changes)


def test_both_layouts_give_the_same_description(opengvlab_checkpoint: Path, transformers_checkpoint: Path):
    opengvlab = InternVLChatConfig.from_pretrained(opengvlab_checkpoint)
    hugging_face = InternVLConfig.from_pretrained(transformers_checkpoint)
    limits = json.loads((transformers_checkpoint / "preprocessor_config.json").read_text())
    assert read_checkpoint(opengvlab, {}) == EXPECTED
    assert read_checkpoint(hugging_face, limits) == replace(
        EXPECTED, layout="transformers", system_message=None
    )


def test_the_published_1b_config_is_understood():
    """The config has those keys of OpenGVLab/InternVL3-1B that our code reads."""
    config = InternVLChatConfig.from_dict(
        {
            "architectures": ["InternVLChatModel"],
            "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
            "downsample_ratio": 0.5,
            "dynamic_image_size": True,
            "force_image_size": 448,
            "llm_config": {
                "architectures": ["Qwen2ForCausalLM"],
                "hidden_size": 896,
                "intermediate_size": 4864,
                "max_position_embeddings": 32768,
                "model_type": "qwen2",
                "num_attention_heads": 14,
                "num_hidden_layers": 24,
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-6,
                "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
                "rope_theta": 1000000.0,
                "vocab_size": 151674,
            },
            "max_dynamic_patch": 12,
            "min_dynamic_patch": 1,
            "model_type": "internvl_chat",
            "ps_version": "v2",
            "select_layer": -1,
            "template": "internvl2_5",
            "torch_dtype": "bfloat16",
            "use_thumbnail": True,
            "vision_config": {
                "architectures": ["InternVisionModel"],
                "hidden_act": "gelu",
                "hidden_size": 1024,
                "image_size": 448,
                "initializer_factor": 1.0,
                "intermediate_size": 4096,
                "layer_norm_eps": 1e-6,
                "model_type": "intern_vit_6b",
                "norm_type": "layer_norm",
                "num_attention_heads": 16,
                "num_channels": 3,
                "num_hidden_layers": 24,
                "patch_size": 14,
                "qk_normalization": False,
                "qkv_bias": True,
            },
        }
    )
    checkpoint = read_checkpoint(config, {})
    assert checkpoint.tokens_per_tile == 256
    assert checkpoint.tiling == TilingConfig(448, 1, 12, use_thumbnail=True)
    assert checkpoint.window == 32768
    assert checkpoint.vision.hidden_size == 1024
    assert config.tie_word_embeddings is False
    assert config.text_config.rope_parameters == {"rope_type": "default", "rope_theta": 1e6}
    assert not hasattr(config, "auto_map")


def test_the_config_makes_the_engine_carry_three_rows(opengvlab_checkpoint: Path):
    assert len(InternVLChatConfig.from_pretrained(opengvlab_checkpoint).mrope_section) == 3


def test_a_config_survives_being_sent_to_another_process(opengvlab_checkpoint: Path):
    config = InternVLChatConfig.from_pretrained(opengvlab_checkpoint)
    again = InternVLChatConfig.from_dict(json.loads(config.to_json_string()))
    assert read_checkpoint(again, {}) == read_checkpoint(config, {})


def test_a_fixed_image_size_is_one_tile(opengvlab_checkpoint: Path):
    config = chat_config(opengvlab_checkpoint, dynamic_image_size=False)
    assert read_checkpoint(config, {}).tiling == TilingConfig(TILE, 1, 1, use_thumbnail=False)


@pytest.mark.parametrize(("selected", "layers"), [(-3, 0), (-2, 1), (-1, 2), (0, 0), (1, 1), (2, 2)])
def test_the_feature_layer_is_an_index_into_the_hidden_states(
    selected: int, layers: int, opengvlab_checkpoint: Path, transformers_checkpoint: Path
):
    """Index 0 is the embeddings, in OpenGVLab's code and in transformers'."""
    content = json.loads((transformers_checkpoint / "config.json").read_text())
    for config in (
        chat_config(opengvlab_checkpoint, select_layer=selected),
        InternVLConfig.from_dict(content | {"vision_feature_layer": selected}),
    ):
        assert read_checkpoint(config, {}).vision.num_hidden_layers == layers


def test_absent_keys_have_the_defaults_of_each_layout(
    opengvlab_checkpoint: Path, transformers_checkpoint: Path
):
    """OpenGVLab's `configuration_internvl_chat.py` has other defaults than transformers' image processor."""
    keys = ("dynamic_image_size", "use_thumbnail", "ps_version", "min_dynamic_patch", "max_dynamic_patch")
    content = json.loads((opengvlab_checkpoint / "config.json").read_text())
    bare = InternVLChatConfig.from_dict({key: value for key, value in content.items() if key not in keys})
    assert read_checkpoint(bare, {}).tiling == TilingConfig(TILE, 1, 1, use_thumbnail=False)
    assert read_checkpoint(bare, {}).transposes_tiles
    dynamic = InternVLChatConfig.from_dict(
        {key: value for key, value in content.items() if key not in keys} | {"dynamic_image_size": True}
    )
    assert read_checkpoint(dynamic, {}).tiling == TilingConfig(TILE, 1, 6, use_thumbnail=False)
    hugging_face = read_checkpoint(InternVLConfig.from_pretrained(transformers_checkpoint), {})
    assert hugging_face.tiling == TilingConfig(TILE, 1, 12, use_thumbnail=True)
    assert not hugging_face.transposes_tiles


def test_a_tuned_delta_is_read(opengvlab_checkpoint: Path):
    assert read_checkpoint(chat_config(opengvlab_checkpoint, v2pe_delta=0.25), {}).v2pe_delta == 0.25


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, system_message("internvl2_5")),
        ({"system_message": None}, system_message("internvl2_5")),
        ({"system_message": ""}, ""),
        ({"system_message": "Be brief."}, "Be brief."),
        ({"template": "internlm2-chat"}, system_message("internlm2-chat")),
        ({"template": None}, system_message("internvl2_5")),
    ],
)
def test_the_system_message_is_the_checkpoints_or_its_templates(
    opengvlab_checkpoint: Path, changes: dict[str, Any], expected: str
):
    assert read_checkpoint(chat_config(opengvlab_checkpoint, **changes), {}).system_message == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ps_version": "v3"}, "ps_version 'v3' of the pixel-unshuffle"),
        ({"select_layer": 3}, "is 3, but the vision tower has 2 layers: .* number from -3 to 2"),
        ({"select_layer": -4}, "is -4, but the vision tower has 2 layers"),
        ({"select_layer": [-1, 1]}, "is .-1, 1., but the vision tower has 2 layers"),
        ({"force_image_size": 60}, "a tile of 60 pixels in patches of 14"),
        ({"force_image_size": 42}, "can't be merged by 0.5"),
        ({"v2pe_delta": "auto"}, "must be a number"),
        ({"v2pe_delta": 3}, "v2pe_delta must be"),
        ({"template": "phi3-chat"}, "template 'phi3-chat' isn't supported"),
    ],
)
def test_values_that_the_model_cannot_be_built_with_are_refused(
    opengvlab_checkpoint: Path, changes: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        read_checkpoint(chat_config(opengvlab_checkpoint, **changes), {})


def test_another_language_model_is_refused():
    with pytest.raises(ValueError, match="language model 'phi3' isn't supported: use qwen2, qwen3 or llama"):
        InternVLConfig(text_config=transformers.Phi3Config(pad_token_id=0))


def test_another_rotary_scaling_is_refused():
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(ValueError, match="rotary scaling 'linear'"):
        InternVLConfig(text_config=transformers.Qwen2Config(rope_parameters=rope))
