"""Every kind of published language model config is converted for transformers, or refused with a reason."""

from typing import Any

import pytest
import transformers

from model.checkpoint.backbones import head_dim, language_config, require_language_model

INTERNLM2 = {
    "architectures": ["InternLM2ForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config"},
    "attn_implementation": "flash_attention_2",
    "bias": False,
    "hidden_size": 2048,
    "model_type": "internlm2",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_scaling": {"factor": 2.0, "type": "dynamic"},
    "rope_theta": 1000000,
    "vocab_size": 92553,
}


def llama(**changes: Any) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(**language_config(INTERNLM2 | changes))


def test_internlm2_is_a_llama():
    config = llama()
    assert language_config(INTERNLM2)["model_type"] == "llama"
    assert config.architectures == ["LlamaForCausalLM"]
    assert (config.hidden_size, config.num_key_value_heads, config.vocab_size) == (2048, 8, 92553)
    assert (config.attention_bias, config.mlp_bias) == (False, False)
    assert config.rope_parameters["rope_theta"] == 1000000
    assert not {"auto_map", "bias", "attn_implementation"} & config.to_dict().keys()


def test_internlm2s_biases_are_those_of_its_attention():
    assert (llama(bias=True).attention_bias, llama(bias=True).mlp_bias) == (True, False)
    without = {key: value for key, value in INTERNLM2.items() if key != "bias"}
    assert language_config(without)["attention_bias"] is True  # The published class has this default.


def test_internlm3s_biases_are_everywhere_or_nowhere():
    internlm3 = {"architectures": ["InternLM3ForCausalLM"], "model_type": "internlm3"}
    assert (llama(**internlm3).attention_bias, llama(**internlm3).mlp_bias) == (False, False)
    both = llama(**internlm3, bias=True, qkv_bias=True)
    assert (both.attention_bias, both.mlp_bias) == (True, True)
    with pytest.raises(ValueError, match="bias and qkv_bias are equal"):
        llama(**internlm3, bias=False, qkv_bias=True)


def test_the_architecture_decides():
    """The 9B builds on InternLM3, but its code and weights are published as InternLM2."""
    mixed = language_config(INTERNLM2 | {"model_type": "internlm3"})
    assert mixed["mlp_bias"] is False
    assert language_config({"architectures": ["Qwen2ForCausalLM"]})["model_type"] == "qwen2"
    assert language_config({"model_type": "qwen3"}) == {"model_type": "qwen3"}


def test_a_config_without_a_language_model_is_refused():
    with pytest.raises(ValueError, match="add a model_type"):
        language_config({"hidden_size": 64})


@pytest.mark.parametrize(
    "kind", [transformers.Qwen2Config, transformers.Qwen3Config, transformers.LlamaConfig]
)
@pytest.mark.parametrize("factor", [2.0, 6.0, 100.0])
def test_dynamic_scaling_leaves_the_plain_base(kind: Any, factor: float):
    config = kind(rope_parameters={"rope_type": "dynamic", "factor": factor, "rope_theta": 5e7})
    require_language_model(config)
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 5e7}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (transformers.Qwen3MoeConfig(), "'qwen3_moe' isn't supported: use qwen2, qwen3 or llama"),
        (
            transformers.LlamaConfig(
                rope_parameters={
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "rope_theta": 1e6,
                    "original_max_position_embeddings": 1024,
                }
            ),
            "rotary scaling 'yarn'",
        ),
        (
            transformers.LlamaConfig(
                rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
            ),
            "partial rotary",
        ),
    ],
)
def test_rotary_embeddings_that_v2pe_does_not_define_are_refused(config: Any, message: str):
    with pytest.raises(ValueError, match=message):
        require_language_model(config)


def test_the_width_of_a_head_is_configured_or_its_share():
    assert head_dim(transformers.Qwen3Config(hidden_size=1024, num_attention_heads=16, head_dim=128)) == 128
    assert head_dim(transformers.Qwen2Config(hidden_size=896, num_attention_heads=14)) == 64
