"""A small delta brings a prompt into the window that has more tokens than the window has positions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer

from tests.checkpoints import MAX_TILES, TILE, WINDOW, random_model
from tests.model.reference import Reference
from tests.model.test_parity import TOLERANCE, run_engine

pytestmark = pytest.mark.engine

IMAGES = 540
# An image has 7 tiles of 4 tokens and two that frame it. It takes 3 positions where 28 * delta <= 1.
TOKENS = 30 * IMAGES


def test_eight_windows_of_tokens_fit_into_one_of_positions(
    opengvlab_checkpoint: Path, engine_env: dict[str, str], tmp_path: Path
):
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    noise = np.random.default_rng(9)
    for path in paths:
        Image.fromarray(noise.integers(0, 256, (190, 300, 3), dtype=np.uint8)).save(path)
    chosen = [str(paths[number % 4]) for number in noise.integers(0, 4, IMAGES)]
    prompt = "<image>" * IMAGES + "Which of them?\n"
    engine = {
        "model": str(opengvlab_checkpoint),
        "dtype": "float32",
        "max_model_len": TOKENS + 256,
        "enforce_eager": True,
        "block_size": 32,
        "max_num_batched_tokens": 2048,
    }
    ask = {"prompt": prompt, "images": chosen, "options": {"v2pe_delta": "auto", "v2pe_max_tokens": 8}}
    again = ask | {"options": {"v2pe_delta": 1 / 32}}
    spec = {"engine": engine, "steps": 1, "rounds": [[ask], [again]]}
    (first,), (second,) = run_engine(spec, tmp_path, engine_env)["rounds"]
    assert TOKENS > 7.9 * WINDOW
    assert second["cached"] > TOKENS - 32  # All but a block is cached, because "auto" chose 1/32 too.
    assert second["tokens"] == first["tokens"]

    tokenizer = AutoTokenizer.from_pretrained(opengvlab_checkpoint)
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    model = random_model(len(tokenizer), context, tied=False, seed=0)
    pictures = {path: Image.open(path) for path in set(chosen)}
    reference = Reference(model, opengvlab_checkpoint, TILE, MAX_TILES)
    (expected,) = reference.generate(prompt, [pictures[path] for path in chosen], 1 / 32, 1)
    assert first["tokens"] == [expected.token]
    for token, logprob in first["logprobs"][0].items():
        assert abs(logprob - float(expected.logprobs_V[int(token)])) < TOLERANCE
