"""A model on two ranks gives the same answers as on one, with tensor, pipeline and tile parallelism."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.checkpoints import build_checkpoint, save_weights, write_json
from tests.model.engine_series import engine, questions, run_series, tokens

pytestmark = pytest.mark.engine

TWO: dict[str, Any] = {"tensor_parallel_size": 2}
# vLLM pins each rank to a separate memory node, and refuses a machine with fewer nodes than ranks.
UNPINNED = {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
# On a CPU only the warm-up for compilation creates the buffers of a pipeline rank (line 85 of vLLM's
# v1/worker/cpu_model_runner.py). So the model is traced, which takes seconds; compiling would take a minute.
TRACED: dict[str, Any] = {"enforce_eager": False, "compilation_config": {"mode": 2, "backend": "eager"}}
PIPELINE = {"pipeline_parallel_size": 2, **TRACED}
REMOVED = "language_model.lm_head.weight"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("parallel")
    folders = {
        "plain": build_checkpoint(folder / "plain", "opengvlab"),
        "tied": build_checkpoint(folder / "tied", "opengvlab", tied=True),
        # These have a vision tower like InternViT-6B. Two ranks can't share five heads (the published one has
        # 25), so each computes all. They can share four heads, and then norm q and k over the heads of both.
        "five": build_checkpoint(folder / "five", "opengvlab", vision="6b"),
        "four": build_checkpoint(folder / "four", "opengvlab", vision="6b"),
        "broken": build_checkpoint(folder / "broken", "opengvlab"),
    }
    config = json.loads((folders["four"] / "config.json").read_text())
    config["vision_config"]["num_attention_heads"] = 4
    write_json(folders["four"] / "config.json", config)
    state = load_file(folders["broken"] / "model.safetensors")
    del state[REMOVED]
    save_weights(folders["broken"], state)
    return folders


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    # There are no log-probabilities, because vLLM compiles their computation and needs a C++ compiler for it.
    return questions(tmp_path_factory.mktemp("pictures"), sampling={"logprobs": None})


@pytest.fixture(scope="module")
def alone(
    checkpoints: dict[str, Path],
    requests: list[dict[str, Any]],
    engine_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Return answers of one rank on each checkpoint, and of two ranks that vLLM starts as for a user."""
    engines = [engine(name, checkpoints[name], requests) for name in ("plain", "tied", "five", "four")]
    engines.append(engine("split", checkpoints["plain"], requests, distributed_executor_backend="mp", **TWO))
    folder = tmp_path_factory.mktemp("alone")
    return run_series(engines, folder, engine_env | UNPINNED)[0]


@pytest.fixture(scope="module")
def together(
    checkpoints: dict[str, Path],
    requests: list[dict[str, Any]],
    engine_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[str, Any]]:
    """Return the results of two ranks."""
    two, pipeline = (
        {"distributed_executor_backend": "external_launcher", **more} for more in (TWO, PIPELINE)
    )
    eleven_tiles = requests[:2]  # The number is odd, so the ranks have unequal shares.
    engines = [
        engine("five", checkpoints["five"], requests, **two),
        engine("four", checkpoints["four"], requests, **two),
        engine("tiles", checkpoints["plain"], eleven_tiles, mm_encoder_tp_mode="data", **two),
        engine("pipeline", checkpoints["tied"], requests, **pipeline),
        engine("broken", checkpoints["broken"], requests, **pipeline),
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


def test_tiles_are_distributed_over_the_ranks(alone: dict[str, Any], together: list[dict[str, Any]]):
    for rank in together:
        assert tokens(rank["tiles"]["answers"]) == tokens(alone["plain"]["answers"])[:2]


def test_pipeline_ranks_with_a_tied_head(alone: dict[str, Any], together: list[dict[str, Any]]):
    for rank in together:
        assert tokens(rank["pipeline"]["answers"]) == tokens(alone["tied"]["answers"])


def test_every_rank_refuses_a_checkpoint_that_lacks_a_tensor_of_one_rank(together: list[dict[str, Any]]):
    assert [rank["broken"] for rank in together] == [f"the checkpoint lacks {REMOVED}"] * 2


def test_checkpoints_differ(alone: dict[str, Any]):
    """If their answers were equal, an engine that confuses them would pass the other tests."""
    answers = [str(tokens(alone[name]["answers"])) for name in ("plain", "tied", "five", "four")]
    assert len(set(answers)) == 4
