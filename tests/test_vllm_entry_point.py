"""vLLM's entry point registers this project's model, and refuses another module called `model`."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import internvl3_vllm
from model.plugin.architectures import CLASSES

REGISTER = "import internvl3_vllm; internvl3_vllm.register()"


def run_python(
    code: str, env: dict[str, str], folder: Path, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a new process with `folder` as the current one, because modules are imported only once."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env | changes,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_register_puts_our_classes_into_vllms_registry(engine_env: dict[str, str], tmp_path: Path):
    show = (
        "from vllm import ModelRegistry; "
        f"print(*(ModelRegistry.models[name].module_name for name in {list(CLASSES)}))"
    )
    result = run_python(f"{REGISTER}; {show}", engine_env, tmp_path, VLLM_PLUGINS="")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [module for module, _ in CLASSES.values()]


def test_register_refuses_another_module_called_model(engine_env: dict[str, str], tmp_path: Path):
    other = tmp_path / "model.py"
    other.write_text("")
    result = run_python(REGISTER, engine_env, tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("RuntimeError: internvl3-serving needs its package `model`")
    assert f"Python found {other} first" in message
    assert message.endswith("Rename that module, or start Python from another folder.")


def test_the_installed_distribution_names_the_entry_point():
    (plugin,) = entry_points(group="vllm.general_plugins", name="internvl3")
    assert plugin.dist is not None and plugin.dist.name == "internvl3-serving"
    assert plugin.value == "internvl3_vllm:register"
    assert plugin.load() is internvl3_vllm.register


def test_the_module_can_be_imported_without_vllm(engine_env: dict[str, str], tmp_path: Path):
    """vLLM only logs errors that occur while it loads an entry point, so loading it must not fail."""
    code = "import sys; sys.modules['vllm'] = None; import internvl3_vllm; print(internvl3_vllm.register)"
    result = run_python(code, engine_env, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "function register" in result.stdout
