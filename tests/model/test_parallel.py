"""One model on two ranks answers what it does on one: tensor and pipeline parallel, tiles dealt out."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.checkpoints import build_checkpoint, save_weights, write_json
from tests.model.engine_series import engine, questions, run_series, tokens

pytestmark = pytest.mark.engine

TWO: dict[str, Any] = {"tensor_parallel_size": 2}
# vLLM pins each rank to a memory node of its own, and refuses a machine with fewer.
UNPINNED = {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
# On a CPU only the warm-up for compilation makes a stage's buffers (line 85 of vLLM's
# v1/worker/cpu_model_runner.py), so the model is traced: that costs seconds, a compilation a minute.
TRACED: dict[str, Any] = {"enforce_eager": False, "compilation_config": {"mode": 2, "backend": "eager"}}
STAGES = {"pipeline_parallel_size": 2, **TRACED}
LOST = "language_model.lm_head.weight"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("parallel")
    made = {
        "plain": build_checkpoint(folder / "plain", "opengvlab"),
        "tied": build_checkpoint(folder / "tied", "opengvlab", tied=True),
        # InternViT-6B's kind. Two ranks can't share five heads (the published one has 25): each computes all.
        # They can share four, and then norm q and k over both ranks' heads.
        "five": build_checkpoint(folder / "five", "opengvlab", vision="6b"),
        "four": build_checkpoint(folder / "four", "opengvlab", vision="6b"),
        "broken": build_checkpoint(folder / "broken", "opengvlab"),
    }
    config = json.loads((made["four"] / "config.json").read_text())
    config["vision_config"]["num_attention_heads"] = 4
    write_json(made["four"] / "config.json", config)
    state = load_file(made["broken"] / "model.safetensors")
    del state[LOST]
    save_weights(made["broken"], state)
    return made


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    # No log-probabilities: vLLM compiles their computation, for which it needs a C++ compiler.
    return questions(tmp_path_factory.mktemp("pictures"), sampling={"logprobs": None})


@pytest.fixture(scope="module")
def alone(
    checkpoints: dict[str, Path],
    asked: list[dict[str, Any]],
    engine_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Answers of one rank on each checkpoint; then of two that vLLM starts itself, as it does for a user."""
    engines = [engine(name, checkpoints[name], asked) for name in ("plain", "tied", "five", "four")]
    engines.append(engine("split", checkpoints["plain"], asked, distributed_executor_backend="mp", **TWO))
    folder = tmp_path_factory.mktemp("alone")
    return run_series(engines, folder, engine_env | UNPINNED)[0]


@pytest.fixture(scope="module")
def together(
    checkpoints: dict[str, Path],
    asked: list[dict[str, Any]],
    engine_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[str, Any]]:
    """Results of two ranks."""
    two, stages = ({"distributed_executor_backend": "external_launcher", **more} for more in (TWO, STAGES))
    eleven_tiles = asked[:2]  # an odd number: the ranks' shares are unequal
    engines = [
        engine("five", checkpoints["five"], asked, **two),
        engine("four", checkpoints["four"], asked, **two),
        engine("tiles", checkpoints["plain"], eleven_tiles, mm_encoder_tp_mode="data", **two),
        engine("stages", checkpoints["tied"], asked, **stages),
        engine("broken", checkpoints["broken"], asked, **stages),
    ]
    folder = tmp_path_factory.mktemp("together")
    return run_series(engines, folder, engine_env | {"TORCH_COMPILE_DISABLE": "0"}, ranks=2)


def test_tensor_parallel(alone: dict[str, Any]):
    assert tokens(alone["split"]["answers"]) == tokens(alone["plain"]["answers"])


@pytest.mark.parametrize("heads", ["four", "five"])
def test_heads_of_the_vision_tower_are_shared_where_they_can_be(
    heads: str, alone: dict[str, Any], together: list[dict[str, Any]]
):
    for rank in together:
        assert tokens(rank[heads]["answers"]) == tokens(alone[heads]["answers"])


def test_tiles_are_dealt_out_to_the_ranks(alone: dict[str, Any], together: list[dict[str, Any]]):
    for rank in together:
        assert tokens(rank["tiles"]["answers"]) == tokens(alone["plain"]["answers"])[:2]


def test_pipeline_stages_with_a_tied_head(alone: dict[str, Any], together: list[dict[str, Any]]):
    for rank in together:
        assert tokens(rank["stages"]["answers"]) == tokens(alone["tied"]["answers"])


def test_every_stage_refuses_a_checkpoint_that_lacks_what_one_stage_needs(together: list[dict[str, Any]]):
    assert [rank["broken"] for rank in together] == [f"the checkpoint lacks {LOST}"] * 2


def test_checkpoints_differ(alone: dict[str, Any]):
    """Else an engine that mixed them up would pass."""
    answers = [str(tokens(alone[name]["answers"])) for name in ("plain", "tied", "five", "four")]
    assert len(set(answers)) == 4
