"""The engine agrees with transformers for every pair of vision tower and language model, in each layout.

The checkpoints have the flaws of some published ones: they are in shards, with a wrong eos in the config, and
without a generation config.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.checkpoints import (
    MAX_TILES,
    TILE,
    Language,
    Layout,
    Vision,
    build_checkpoint,
    byte_tokenizer,
    random_model,
    write_json,
)
from tests.model.engine_series import engine, run_series, tokens
from tests.model.reference import Reference, Step

pytestmark = pytest.mark.engine

DELTAS = (1, 1 / 4, 1 / 256)
TOLERANCE = 1e-3
STEPS = 8
SEED = 4  # With it no answer contains a context token, which transformers would treat as an image's.
END = byte_tokenizer().convert_tokens_to_ids("<|im_end|>")
IMAGES = ((230, 120), (64, 64), (40, 170))
FRAMES = (3, 70, 90)  # Frames, height and width; neither side is a whole number of tiles.
# Each has a text, a number of images, and whether there is a video.
QUESTIONS = (
    ("{image}\nWhat is it?", 1, False),
    ("Look: {image} and {image}\nand {image}", 3, False),
    ("{video}\nWhat happens?", 0, True),
    ("{image}\n{video}\nIs it the same?", 1, True),
)


@dataclass(frozen=True)
class Pair:
    """A checkpoint of the matrix."""

    vision: Vision
    language: Language
    layout: Layout

    @property
    def name(self) -> str:
        return f"{self.vision}-{self.language}-{self.layout}"


LANGUAGES: tuple[tuple[Language, Layout], ...] = (
    ("qwen2", "opengvlab"),
    ("qwen2", "transformers"),
    ("qwen3", "opengvlab"),
    ("qwen3", "transformers"),
    ("internlm2", "opengvlab"),
    ("internlm3", "opengvlab"),
    ("llama", "transformers"),  # Both InternLM become this in transformers' layout.
)
VISIONS: tuple[Vision, ...] = ("300m", "6b")
TRACED: dict[str, Any] = {"enforce_eager": False, "compilation_config": {"mode": 2, "backend": "eager"}}
TRACED_PAIRS = (Pair("300m", "internlm2", "opengvlab"), Pair("300m", "qwen3", "opengvlab"))
MATRIX = tuple(Pair(vision, *language) for vision, language in product(VISIONS, LANGUAGES))


def write_checkpoint(directory: Path, pair: Pair) -> None:
    build_checkpoint(directory, pair.layout, seed=SEED, vision=pair.vision, language=pair.language)
    tokenizer = byte_tokenizer()
    wrong = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    (directory / "generation_config.json").unlink()
    config = json.loads((directory / "config.json").read_text())
    config["llm_config" if pair.layout == "opengvlab" else "text_config"]["eos_token_id"] = wrong
    write_json(directory / "config.json", config)
    if pair.language == "internlm2":  # Its tokenizer has a different token for the end of a text, too.
        tokenizer.eos_token = "<|endoftext|>"
        tokenizer.save_pretrained(directory)
    split_weights(directory)


def split_weights(directory: Path) -> None:
    """Replace `model.safetensors` with two shards and their index."""
    single_file = directory / "model.safetensors"
    state = load_file(single_file)
    single_file.unlink()
    shards = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(sorted(state))}
    for shard in set(shards.values()):
        part = {name: state[name] for name in state if shards[name] == shard}
        save_file(part, directory / shard, metadata={"format": "pt"})
    write_json(directory / "model.safetensors.index.json", {"metadata": {}, "weight_map": shards})


def questions(image: str, images: list[Path], video: Path) -> list[dict[str, Any]]:
    return [
        {
            "prompt": "<|im_start|>user\n"
            + text.format(image=image, video="<video>")
            + "<|im_end|>\n<|im_start|>assistant\n",
            "images": [str(path) for path in images[:count]],
            "videos": [str(video)] if has_video else [],
            "options": {"v2pe_delta": delta},
            "sampling": {"max_tokens": STEPS},
        }
        for text, count, has_video in QUESTIONS
        for delta in DELTAS
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture(scope="module")
def images(folder: Path) -> list[Path]:
    noise = np.random.default_rng(3)
    paths = [folder / f"{width}x{height}.png" for width, height in IMAGES]
    for path, (width, height) in zip(paths, IMAGES, strict=True):
        Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture(scope="module")
def video(folder: Path) -> Path:
    path = folder / "video.npy"
    np.save(path, np.random.default_rng(4).integers(0, 256, (*FRAMES, 3), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def answers(folder: Path, images: list[Path], video: Path, engine_env: dict[str, str]) -> dict[str, Any]:
    """Return the engine's answers on every checkpoint, by the name of the checkpoint."""
    series = []
    for pair in MATRIX:
        write_checkpoint(folder / pair.name, pair)
        ending = {
            "prompt": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
            "images": [],
            "options": {},
            "sampling": {"max_tokens": 4, "allowed_token_ids": [END], "ignore_eos": False},
        }
        placeholder = "<image>" if pair.layout == "opengvlab" else "<IMG_CONTEXT>"
        requests = [*questions(placeholder, images, video), ending]
        limits = {"image": 4, "video": 1}
        series.append(engine(pair.name, folder / pair.name, requests, limit_mm_per_prompt=limits))
    (results,) = run_series(series, folder, engine_env)
    return results


@pytest.fixture(scope="module")
def traced(
    answers: dict[str, Any], folder: Path, images: list[Path], video: Path, engine_env: dict[str, str]
) -> dict[str, Any]:
    """Return the answers of models that torch has traced.

    Tracing needs no C++ compiler. Log-probabilities would need one, so there are none.
    """
    requests = [
        one | {"sampling": {"max_tokens": STEPS, "logprobs": None}}
        for one in questions("<image>", images, video)
    ]
    series = [
        engine(
            pair.name, folder / pair.name, requests, limit_mm_per_prompt={"image": 4, "video": 1}, **TRACED
        )
        for pair in TRACED_PAIRS
    ]
    (results,) = run_series(series, folder, engine_env | {"TORCH_COMPILE_DISABLE": "0"})
    return results


@cache
def expected(
    vision: Vision, language: Language, directory: Path, images: tuple[Path, ...], video: Path
) -> list[list[Step]]:
    """Return the reference's steps for each question. Both InternLM are the same Llama, in either layout."""
    tokenizer = byte_tokenizer()
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    model = random_model(len(tokenizer), context, tied=False, seed=SEED, vision=vision, language=language)
    reference = Reference(model, directory, TILE, MAX_TILES)
    return [
        reference.generate(
            question["prompt"],
            [Image.open(path) for path in question["images"]],
            question["options"]["v2pe_delta"],
            STEPS,
            [Image.fromarray(frame) for path in question["videos"] for frame in np.load(path)],
        )
        for question in questions("<image>", list(images), video)
    ]


@pytest.mark.parametrize("pair", MATRIX, ids=lambda pair: pair.name)
def test_the_engine_agrees_with_transformers(
    pair: Pair, answers: dict[str, Any], folder: Path, images: list[Path], video: Path
):
    result = answers[pair.name]
    assert not isinstance(result, str), result
    language: Language = "llama" if pair.language.startswith("internlm") else pair.language
    steps_by_question = expected(
        pair.vision, language, folder / f"{pair.vision}-qwen2-opengvlab", tuple(images), video
    )
    for (completion,), steps in zip(result["answers"][:-1], steps_by_question, strict=True):
        assert completion["tokens"] == [step.token for step in steps]
        for step, logprobs in zip(steps, completion["logprobs"], strict=True):
            for token, logprob in logprobs.items():
                assert abs(logprob - float(step.logprobs_V[int(token)])) < TOLERANCE
    # The comparison proves nothing unless the delta changes the log-probabilities.
    first = [steps[0].logprobs_V for steps in steps_by_question]
    for start in range(0, len(first), len(DELTAS)):
        group = torch.stack(first[start : start + len(DELTAS)])
        assert (group[1:] - group[:-1]).abs().amax(-1).min() > 10 * TOLERANCE


@pytest.mark.parametrize("pair", MATRIX, ids=lambda pair: pair.name)
def test_a_turn_ends_where_the_tokenizer_says(pair: Pair, answers: dict[str, Any]):
    """Only `<|im_end|>` is allowed; the engine stops at the first one and not at the limit of four tokens."""
    ((completion,),) = answers[pair.name]["answers"][-1:]
    assert completion["tokens"] == [END]


@pytest.mark.parametrize("pair", TRACED_PAIRS, ids=lambda pair: pair.name)
def test_a_traced_model_takes_three_rows_of_positions(
    pair: Pair, traced: dict[str, Any], answers: dict[str, Any]
):
    """vLLM's models declare along which dimension positions grow; Llama's declaration is replaced."""
    result = traced[pair.name]
    assert not isinstance(result, str), result
    assert result["compiled"] > 0
    eager = answers[pair.name]["answers"][:-1]
    assert tokens(result["answers"]) == tokens(eager)
