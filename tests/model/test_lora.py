"""LoRA adapters of the language model answer as if they were merged into the weights."""

from typing import Any

import pytest
from safetensors.torch import load_file

from tests.adapters import ALPHA, RANK, random_changes, write_adapter
from tests.checkpoints import build_checkpoint, save_weights
from tests.model.engine_series import engine, furthest, questions, run_series, tokens

pytestmark = pytest.mark.engine

# PEFT saves these prefixes of `layers.0...` for adapters that were trained on OpenGVLab's class, on its
# language model alone, and on transformers' class.
ORIGINS = {
    "opengvlab": "base_model.model.language_model.model",
    "bare": "base_model.model.model",
    "transformers": "base_model.model.model.language_model",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, engine_env: dict[str, str]) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("lora")
    plain = build_checkpoint(folder / "plain", "opengvlab")
    merged = build_checkpoint(folder / "merged", "opengvlab")
    transformers = build_checkpoint(folder / "transformers", "transformers")
    state = load_file(plain / "model.safetensors")
    changes = random_changes(state, seed=1)
    for module, (down, up) in changes.items():
        name = f"language_model.model.{module}.weight"
        state[name] = state[name] + ALPHA / RANK * up @ down
    save_weights(merged, state)
    adapters = {
        name: write_adapter(folder / f"from-{name}", prefix, changes) for name, prefix in ORIGINS.items()
    }

    requests = questions(folder)
    for_opengvlab = [
        request | {"lora": str(adapters[name])} for name in ("opengvlab", "bare") for request in requests
    ]
    for_transformers = [request | {"lora": str(adapters["transformers"])} for request in requests]
    lora: dict[str, Any] = {"enable_lora": True, "max_lora_rank": RANK}
    # There is one LoRA slot more than adapters, because vLLM's CPU kernels give a request without an adapter
    # the last slot's weights (vllm/lora/ops/torch_ops/lora_ops.py indexes with -1, lines 34 and 74).
    engines = [
        engine("plain", plain, requests),
        engine("merged", merged, requests),
        engine("opengvlab", plain, [*requests, *for_opengvlab], max_loras=3, **lora),
        engine("transformers", transformers, for_transformers, max_loras=2, **lora),
    ]
    return run_series(engines, folder, engine_env)[0]


@pytest.mark.parametrize("origin", list(ORIGINS))
def test_an_adapter_answers_as_if_merged(origin: str, results: dict[str, Any]):
    merged = results["merged"]["answers"]
    got = {
        "opengvlab": results["opengvlab"]["answers"][3:6],
        "bare": results["opengvlab"]["answers"][6:],
        "transformers": results["transformers"]["answers"],
    }[origin]
    assert tokens(got) == tokens(merged)
    assert furthest(got, merged) < 1e-3


def test_a_request_without_an_adapter_gets_the_plain_model(results: dict[str, Any]):
    plain = results["plain"]["answers"]
    assert tokens(results["opengvlab"]["answers"][:3]) == tokens(plain)
    assert tokens(plain) != tokens(results["merged"]["answers"])  # The adapter changes the answers.
