"""The engine's greedy answers agree with transformers, for each delta, layout and way of scheduling."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from tests.checkpoints import MAX_TILES, TILE, Layout, random_model
from tests.model.reference import Reference

pytestmark = pytest.mark.engine

DELTAS = (1, 1 / 4, 1 / 16, 1 / 256)
TOLERANCE = 1e-3
# The sizes of the images of each prompt: a single tile, a full grid with its thumbnail, and several of
# different shapes.
PICTURES = {"one": [(50, 60)], "tiled": [(300, 190)], "three": [(64, 64), (40, 230), (170, 90)]}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """Return a PNG file of noise for each size."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(7)
    paths = {}
    for width, height in {size for sizes in PICTURES.values() for size in sizes}:
        paths[width, height] = folder / f"{width}x{height}.png"
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(paths[width, height])
    return paths


def question(sizes: list[tuple[int, int]], placeholder: str) -> str:
    pictures = " and ".join([placeholder] * len(sizes))
    return f"<|im_start|>user\nLook: {pictures}\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"


def requests(images: dict[tuple[int, int], Path], placeholder: str) -> list[dict[str, Any]]:
    return [
        {
            "prompt": question(sizes, placeholder),
            "images": [str(images[size]) for size in sizes],
            "options": {"v2pe_delta": delta},
        }
        for sizes in PICTURES.values()
        for delta in DELTAS
    ]


def run_engine(spec: dict[str, Any], folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """Return the result of the engine driver for a spec."""
    spec_path, result = folder / "spec.json", folder / "result.json"
    spec_path.write_text(json.dumps(spec))
    command = [sys.executable, "-m", "tests.model.engine_driver", str(spec_path), str(result)]
    # The engine runs in the child itself, because another process would double the time of the start.
    subprocess.run(
        command,
        env=env | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
        check=True,
        timeout=600,
        capture_output=True,
        text=True,
    )
    return json.loads(result.read_text())


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_engine_agrees_with_transformers(
    layout: Layout,
    images: dict[tuple[int, int], Path],
    engine_env: dict[str, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    checkpoint: Path = request.getfixturevalue(f"{layout}_checkpoint")
    singles = requests(images, "<image>" if layout == "opengvlab" else "<IMG_CONTEXT>")
    engine = {
        "model": str(checkpoint),
        "dtype": "float32",
        "max_model_len": 256,
        "enforce_eager": True,
        "block_size": 32,
        "enable_prefix_caching": True,
        # The number is smaller than any prompt with more than one tile, so prefill stops inside images.
        "max_num_batched_tokens": 32,
        "max_num_seqs": 16,
        "limit_mm_per_prompt": {"image": 4},
    }
    steps = 12
    if layout == "transformers":
        # There are too few blocks for the answers of the full batch, so requests are preempted and resumed.
        engine["num_gpu_blocks_override"], steps = 16, 24
    rounds = [*([single] for single in singles), singles]
    result = run_engine({"engine": engine, "steps": steps, "rounds": rounds}, tmp_path, engine_env)
    alone = [answers[0] for answers in result["rounds"][:-1]]
    batch = result["rounds"][-1]

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    model = random_model(len(tokenizer), context, tied=layout == "transformers", seed=0)
    reference = Reference(model, checkpoint, TILE, MAX_TILES)
    first_steps: dict[str, list[torch.Tensor]] = {}
    for one, first, again in zip(singles, alone, batch, strict=True):
        pictures = [Image.open(path) for path in one["images"]]
        prompt = one["prompt"].replace("<IMG_CONTEXT>", "<image>")
        expected = reference.generate(prompt, pictures, one["options"]["v2pe_delta"], steps)
        first_steps.setdefault(one["images"][0], []).append(expected[0].logprobs_V)
        for got in (first, again):
            assert got["tokens"] == [step.token for step in expected], one
            for step, logprobs in zip(expected, got["logprobs"], strict=True):
                for token, logprob in logprobs.items():
                    assert abs(logprob - float(step.logprobs_V[int(token)])) < TOLERANCE, one

    # The comparison proves nothing unless the delta changes the answers and the cache is used.
    for logprobs_by_delta in first_steps.values():
        for one_V, other_V in combinations(logprobs_by_delta, 2):
            assert (one_V - other_V).abs().max() > 10 * TOLERANCE
    if layout == "opengvlab":
        assert all(answer["cached"] >= 32 for answer in batch)
    else:
        assert result["preemptions"] > 0
