"""On a GPU both of vLLM's model runners, with and without CUDA graphs, agree with transformers.

The second runner computes positions in a Triton kernel, and graphs run with the contents of their buffers.
Neither can be tested on a CPU.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from tests.checkpoints import MAX_TILES, TILE, random_model
from tests.model.engine_series import engine, questions, run_series
from tests.model.reference import Reference

STEPS = 12
TOLERANCE = 5e-3  # The float32 kernels of a GPU differ from those of the CPU.


def missing_part() -> str:
    """Return what this machine lacks for these tests, or an empty text."""
    if not torch.cuda.is_available():
        return "an NVIDIA GPU that torch sees"
    return "" if find_spec("triton") else "Triton, which comes with the CUDA build of torch"


pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(bool(missing_part()), reason=f"this needs {missing_part()}"),
]


@pytest.mark.parametrize("runner", ["0", "1"], ids=["first runner", "second runner"])
def test_runners_and_graphs_agree_with_transformers(
    runner: str, opengvlab_checkpoint: Path, engine_env: dict[str, str], tmp_path: Path
):
    requests = questions(tmp_path)
    shared: dict[str, Any] = {
        "gpu_memory_utilization": 0.2,
        # The number is smaller than the prompts, so prefill stops inside images and is mixed with decoding.
        "max_num_batched_tokens": 64,
    }
    engines = [
        engine(name, opengvlab_checkpoint, requests, enforce_eager=name == "eager", **shared)
        for name in ("eager", "graphs")
    ]
    env = engine_env | {"VLLM_USE_V2_MODEL_RUNNER": runner, "TORCH_COMPILE_DISABLE": "0"}
    (result,) = run_series(engines, tmp_path, env)

    tokenizer = AutoTokenizer.from_pretrained(opengvlab_checkpoint)
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    model = random_model(len(tokenizer), context, tied=False, seed=0)
    reference = Reference(model, opengvlab_checkpoint, TILE, MAX_TILES)
    for number, one in enumerate(requests):
        pictures = [Image.open(path) for path in one["images"]]
        expected = reference.generate(one["prompt"], pictures, one["options"]["v2pe_delta"], STEPS)
        for name in ("eager", "graphs"):
            (got,) = result[name]["answers"][number]
            assert got["tokens"] == [step.token for step in expected], name
            for step, logprobs in zip(expected, got["logprobs"], strict=True):
                for token, logprob in logprobs.items():
                    assert abs(logprob - float(step.logprobs_V[int(token)])) < TOLERANCE, name
