"""A checkpoint whose language model isn't ours keeps vLLM's own class, and our server refuses it."""

import json
import logging
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from vllm import ModelRegistry
from vllm.model_executor.models.registry import _MULTIMODAL_MODELS
from vllm.transformers_utils.config import get_config

from model.checkpoint.config import InternVLConfig
from model.checkpoint.description import read_checkpoint
from model.checkpoint.missing import require_tensors
from model.plugin.engine_config import ForeignEngineConfig, WindowConvertor
from model.plugin.register import require_plugin
from tests.checkpoints import WINDOW, Layout, write_json
from tests.model.engine_series import engine, question, run_series, tokens

MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": WINDOW,
    "rope_theta": 1e4,
    "tie_word_embeddings": False,
    "vocab_size": 262,
}
PHI3 = {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "pad_token_id": 0}
LINEAR = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "rope_scaling": {"type": "linear", "factor": 2.0},
}
REASONS = {
    "qwen3_moe": "the language model 'qwen3_moe' isn't supported: use qwen2, qwen3 or llama",
    "phi3": "the language model 'phi3' isn't supported: use qwen2, qwen3 or llama",
    "qwen2": (
        "V2PE isn't defined for the rotary scaling 'linear': "
        "use a checkpoint without rotary scaling, or with dynamic"
    ),
}


def with_language_model(checkpoint: Path, folder: Path, language: dict[str, Any]) -> Path:
    """Copy a checkpoint and put another language model into its config; the weights don't fit it."""
    shutil.copytree(checkpoint, folder)
    content = json.loads((folder / "config.json").read_text())
    key = "llm_config" if "llm_config" in content else "text_config"
    write_json(folder / "config.json", content | {key: language})
    return folder


@pytest.fixture
def moe(opengvlab_checkpoint: Path, tmp_path: Path) -> Path:
    require_plugin()
    return with_language_model(opengvlab_checkpoint, tmp_path / "moe", MOE)


@pytest.mark.parametrize("language", [MOE, PHI3, LINEAR], ids=lambda language: language["model_type"])
@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_vllm_gets_its_own_class(
    layout: Layout, language: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
):
    require_plugin()
    folder = with_language_model(
        request.getfixturevalue(f"{layout}_checkpoint"), tmp_path / "foreign", language
    )
    config = get_config(str(folder), trust_remote_code=False)
    assert not isinstance(config, InternVLConfig)
    assert not hasattr(config, "mrope_section")
    assert config.text_config.model_type == language["model_type"]
    assert config.without_v2pe == REASONS[language["model_type"]]
    original = json.loads((folder / "config.json").read_text())["architectures"][0]
    (architecture,) = config.architectures
    module, name = _MULTIMODAL_MODELS[original]
    entry: Any = ModelRegistry.models[architecture]
    assert (entry.module_name, entry.class_name) == (f"vllm.model_executor.models.{module}", name)
    if layout == "transformers":
        assert type(config) is transformers.InternVLConfig
    else:  # what vLLM's class reads
        assert (config.select_layer, config.downsample_ratio, config.ps_version) == (-1, 0.5, "v2")
        assert (config.force_image_size, config.use_thumbnail, config.template) == (56, True, "internvl2_5")
        assert (config.vision_config.hidden_size, config.vision_config.qkv_bias) == (96, True)
        assert config.text_config.architectures == language["architectures"]


def test_the_length_is_derived_as_vllm_does_it(moe: Path):
    config = get_config(str(moe), trust_remote_code=False)
    convertor = WindowConvertor(config, config.text_config)
    assert convertor.derive_max_model_len_and_key() == (WINDOW, "max_position_embeddings")
    config.text_config.model_max_length = 77
    assert convertor.derive_max_model_len_and_key() == (77, "model_max_length")


def test_the_operator_reads_one_line(moe: Path, caplog: pytest.LogCaptureFixture):
    config: Any = SimpleNamespace(model=moe, hf_config=get_config(str(moe), trust_remote_code=False))
    with caplog.at_level(logging.WARNING, "internvl3.plugin"):
        ForeignEngineConfig.verify_and_update_model_config(config)
    assert [record.getMessage() for record in caplog.records] == [
        f"vLLM's own InternVL class serves {moe}, without V2PE: {REASONS['qwen3_moe']}"
    ]


def test_our_server_and_our_training_refuse_it_in_one_line(moe: Path):
    config = get_config(str(moe), trust_remote_code=False)
    for refused in (lambda: require_tensors(moe), lambda: read_checkpoint(config, {})):
        with pytest.raises(
            ValueError, match=r"'qwen3_moe' isn't supported.* V2PE isn't available"
        ) as refusal:
            refused()
        assert "\n" not in str(refusal.value)


def test_a_language_model_that_nobody_knows_is_refused(opengvlab_checkpoint: Path, tmp_path: Path):
    require_plugin()
    unknown = with_language_model(opengvlab_checkpoint, tmp_path / "unknown", {"model_type": "abacus"})
    with pytest.raises(ValueError, match="no class for the language model 'abacus'"):
        get_config(str(unknown), trust_remote_code=False)


@pytest.mark.engine
@pytest.mark.skipif(find_spec("torchvision") is None, reason="vLLM's own class needs torchvision")
def test_vllms_class_answers(moe: Path, engine_env: dict[str, str], tmp_path: Path):
    asked = question(tmp_path, 0, 1)
    del asked["options"]["v2pe_delta"]
    started = engine("moe", moe, [asked], load_format="dummy", trust_remote_code=True)
    result = run_series([started], tmp_path, engine_env)[0]["moe"]
    assert not isinstance(result, str), result
    assert len(tokens(result["answers"])[0]) == 12
