"""InternVL3-1B with real dimensions and tokens answers under `internvl3 serve` as it does in transformers.

The weights are random and in bfloat16. Rounding to 8 bits in each of 48 layers moves the log-probability of a
token by about 0.1, and of a few among all 151,674 by 0.5 (transformers in bfloat16 against float32). Another
delta moves it by 1.5 to 1.8. The engine is 0.05 away from transformers in bfloat16, and 0.1 from float32. The
tolerance lies between these numbers: 0.2 on average over the 20 likeliest tokens, and 0.6 for each.
"""

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from tests.model.real_size import build_real_size
from tests.model.reference import Reference
from tests.model.sizes import SIZES
from tests.server.running import serving
from ttscaling.train.checkpoints.load import load_model

pytestmark = pytest.mark.engine

DELTAS = (1, 1 / 4)
MEAN, MOST = 0.2, 0.6  # The tolerated differences of log-probabilities.
TEXT = "What is it?"
SYSTEM = "You look at pictures."


def picture() -> Image.Image:
    """Return one tile of noise."""
    pixels = np.random.default_rng(7).integers(0, 256, (448, 448, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def checkpoint(qwen_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_real_size(tmp_path_factory.mktemp("InternVL3-1B"), SIZES[0], "opengvlab", qwen_tokenizer)


@pytest.fixture(scope="module")
def replies(
    checkpoint: Path, engine_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[float, Any]:
    """Return the server's answers by delta. The server stops before the reference takes memory."""
    log = tmp_path_factory.mktemp("server") / "log"
    env = {**engine_env, "OMP_NUM_THREADS": str(os.cpu_count())}
    flags = ["--policy", str(checkpoint), "--critic", "none", "--dtype", "bfloat16", "--name", "real"]
    with serving(env, log, *flags) as server, httpx.Client(base_url=server.url, timeout=600) as client:
        return {delta: client.post("/v1/chat/completions", json=question(delta)).json() for delta in DELTAS}


def question(delta: float) -> dict[str, Any]:
    png = io.BytesIO()
    picture().save(png, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    return {
        "model": "real",
        "messages": [
            {"role": "system", "content": SYSTEM},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": url}},
                    {"type": "text", "text": TEXT},
                ],
            },
        ],
        "max_tokens": 8,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
        "return_tokens_as_token_ids": True,
        "mm_processor_kwargs": {"v2pe_delta": delta},
    }


@pytest.fixture
def all_threads() -> Iterator[None]:
    """Let torch use all threads; the tiny models of the other tests use one."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("all_threads")
def test_first_tokens_are_as_likely_as_in_transformers(checkpoint: Path, replies: dict[float, Any]) -> None:
    prompt = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<image>\n{TEXT}<|im_end|>\n"
    prompt += "<|im_start|>assistant\n"
    expected = {}
    for dtype in (torch.bfloat16, torch.float32):  # Only one model at a time fits into memory.
        reference = Reference(load_model(checkpoint, dtype=dtype), checkpoint, 448, 12)
        for delta in DELTAS:
            expected[dtype, delta] = reference.generate(prompt, [picture()], delta, 1)[0].logprobs_V
        del reference
    for delta, reply in replies.items():
        assert reply["usage"]["completion_tokens"] == 8
        ids, logprobs_K = top_logprobs(reply)
        for dtype in (torch.bfloat16, torch.float32):
            difference_K = (expected[dtype, delta][ids] - logprobs_K).abs()
            assert difference_K.mean() < MEAN and difference_K.max() < MOST
        (other,) = set(DELTAS) - {delta}
        assert (expected[torch.float32, other][ids] - logprobs_K).abs().mean() > 5 * MEAN


def top_logprobs(reply: dict[str, Any]) -> tuple[list[int], torch.Tensor]:
    """Return the 20 likeliest ids for the first token, and their log-probabilities."""
    likeliest = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    ids = [int(entry["token"].removeprefix("token_id:")) for entry in likeliest]
    assert len(set(ids)) == 20
    return ids, torch.tensor([entry["logprob"] for entry in likeliest])
