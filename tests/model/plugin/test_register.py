"""vLLM serves InternVL only with our model."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from model.plugin.architectures import CLASSES
from model.plugin.register import PluginError, register, require_plugin
from tests.checkpoints import save_weights
from tests.model.test_parity import run_engine


def require_plugin_in_new_process(env: dict[str, str], **changes: str) -> subprocess.CompletedProcess[str]:
    """Call `require_plugin` in a new process, because vLLM loads its plugins once in a process."""
    command = [sys.executable, "-c", "from model.plugin.register import require_plugin; require_plugin()"]
    return subprocess.run(command, env=env | changes, capture_output=True, text=True, check=False)


def test_our_model_is_registered_after_one_call_and_after_two():
    from vllm import ModelRegistry

    require_plugin()
    for _ in range(2):
        register()
        require_plugin()
    for architecture, (module, _) in CLASSES.items():
        assert ModelRegistry.models[architecture].module_name == module


def test_another_class_instead_of_ours_is_refused():
    from vllm import ModelRegistry

    require_plugin()
    ModelRegistry.register_model("InternVLChatModel", "vllm.model_executor.models.internvl:InternVLChatModel")
    with pytest.raises(PluginError, match="InternVLChatModel without our model"):
        require_plugin()
    register()
    require_plugin()


def test_a_start_without_the_plugin_is_refused_with_one_line(engine_env: dict[str, str]):
    result = require_plugin_in_new_process(engine_env, VLLM_PLUGINS="some_other_plugin")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "model.plugin.register.PluginError: vLLM would serve InternVLChatModel without our model"
    )
    assert "VLLM_PLUGINS" in last


def test_naming_the_plugin_is_enough(engine_env: dict[str, str]):
    result = require_plugin_in_new_process(engine_env, VLLM_PLUGINS="internvl3")
    assert result.returncode == 0, result.stderr


@pytest.mark.engine
def test_the_engine_refuses_a_checkpoint_with_a_tensor_missing(
    opengvlab_checkpoint: Path, engine_env: dict[str, str], tmp_path: Path
):
    """k is stacked with q and v in the engine, so vLLM would treat it as loaded and use random keys."""
    broken = tmp_path / "broken"
    shutil.copytree(opengvlab_checkpoint, broken)
    state = load_file(broken / "model.safetensors")
    name = "language_model.model.layers.1.self_attn.k_proj.weight"
    del state[name]
    save_weights(broken, state)
    engine = {
        "model": str(broken),
        "dtype": "float32",
        "max_model_len": 64,
        "enforce_eager": True,
        "block_size": 32,
    }
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run_engine({"engine": engine, "steps": 1, "rounds": []}, tmp_path, engine_env)
    assert f"ValueError: the checkpoint lacks {name}\n" in failure.value.stderr
