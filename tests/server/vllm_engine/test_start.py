"""Starts that must fail with one clear line and exit status 1."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.server.running import START_SECONDS, command
from ttscaling.asking.local_server import running_process
from ttscaling.asking.start_failure import start_failure

pytestmark = pytest.mark.engine  # most need no engine, but all import vLLM, which takes ten seconds


def refused(env: dict[str, str], *flags: str) -> str:
    """Run the server until it fails, and return the last line on stderr."""
    ended = subprocess.run(
        command(*flags), env=env, capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert ended.returncode == 1, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("internvl3: ")
    return last


def without(checkpoint: Path, copy: Path, tensor: str) -> Path:
    """Copy a checkpoint without one tensor, and return the copy."""
    shutil.copytree(checkpoint, copy)
    weights = load_file(copy / "model.safetensors")
    del weights[tensor]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def test_without_our_plugin(engine_env, opengvlab_checkpoint):
    env = engine_env | {"VLLM_PLUGINS": "another"}
    line = refused(env, "--policy", str(opengvlab_checkpoint), "--critic", "none")
    assert "plugin internvl3 is inactive" in line


@pytest.mark.parametrize("role", ["policy", "critic"])
def test_with_a_tensor_missing(engine_env, opengvlab_checkpoint, tmp_path, role):
    tensor = "language_model.model.layers.1.mlp.up_proj.weight"
    cut = without(opengvlab_checkpoint, tmp_path / "cut", tensor)
    paths = {"policy": opengvlab_checkpoint, "critic": opengvlab_checkpoint} | {role: cut}
    line = refused(engine_env, "--policy", str(paths["policy"]), "--critic", str(paths["critic"]))
    assert f"lacks {tensor}" in line


def test_with_quantised_weights_that_can_not_be_split(engine_env, opengvlab_checkpoint, tmp_path):
    """vLLM would refuse them too, but only while it loads, and without saying what to do."""
    awq = shutil.copytree(opengvlab_checkpoint, tmp_path / "awq")
    config = json.loads((awq / "config.json").read_text())
    rows = config["llm_config"]["intermediate_size"]
    config["llm_config"]["quantization_config"] = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": rows,
        "version": "gemm",
        "zero_point": True,
    }
    (awq / "config.json").write_text(json.dumps(config))
    split = "--tensor-parallel-size 2"
    line = refused(engine_env, "--policy", str(awq), "--critic", "none", "--policy-args", split)
    assert f"can't be split by {split}, because its {rows} quantised rows are 1 groups of {rows}" in line
    assert "use --policy-args '--pipeline-parallel-size 2' instead" in line


def test_when_the_engine_itself_dies(engine_env, opengvlab_checkpoint):
    """Only the engine's process sees this failure. Its reason is still the last line, without a traceback."""
    flags = "--block-size 48 --load-format dummy"
    policy = ["--policy", str(opengvlab_checkpoint), "--critic", "none", "--policy-args", flags]
    line = refused(engine_env, *policy)
    assert "the policy" in line and "did not start: ValueError: No common block size for 48" in line
    assert "core initialization failed" not in line


def test_when_the_engine_is_killed(engine_env, opengvlab_checkpoint, tmp_path):
    """Linux kills a process so when the memory runs out. Nothing in the log says why."""
    log = tmp_path / "log"
    with running_process(
        command("--policy", str(opengvlab_checkpoint), "--critic", "none"), log, engine_env
    ) as server:
        while not (engines := engine_processes(server.pid)):
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
        os.kill(engines[0], signal.SIGKILL)
        assert server.wait(START_SECONDS) == 1
    last = log.read_text().strip().splitlines()[-1]
    assert last.startswith("internvl3: the policy ") and "memory" in last, last
    assert start_failure(log, 1) == last.removeprefix("internvl3: ")


def engine_processes(pid: int) -> list[int]:
    """Return the ids of the processes that the server has spawned for its engines."""
    engines = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended meanwhile
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                engines.append(int(folder.name))
    return engines


def test_without_a_checkpoint(engine_env, tmp_path):
    line = refused(engine_env, "--policy", str(tmp_path / "nothing"), "--critic", "none")
    assert "there is no policy checkpoint in" in line


def test_with_flags_that_vllm_does_not_know(engine_env, opengvlab_checkpoint):
    line = refused(
        engine_env, "--policy", str(opengvlab_checkpoint), "--critic", "none", "--policy-args", "--bogus 3"
    )
    assert "--bogus 3" in line and "not flags of vLLM" in line


def test_on_a_port_that_is_taken(engine_env):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(engine_env, "--port", str(port))
    assert f"can't listen on 127.0.0.1:{port}" in line
