"""Requests in an engine share pixels under all deltas, and tokens only under the same delta."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.engine

BLOCK = 32  # The tokens in a block of the prefix cache.
TILES = 7  # The tiles of a 300 x 190 image with its thumbnail; each has 4 tokens.
TEXT = "<|im_start|>user\n" + "Before the image stands enough text for two whole blocks. " * 2


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(5)
    paths = [folder / f"{number}.png" for number in range(6)]
    for path in paths:
        Image.fromarray(noise.integers(0, 256, (190, 300, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def result(
    opengvlab_checkpoint: Path,
    pictures: list[str],
    engine_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    def ask(delta: Any, images: list[str], *videos: list[str], n: int = 1) -> dict[str, Any]:
        media = "<image>" * len(images) + "<video>" * len(videos)
        text = f"{TEXT}{media}\nWhat is it, and what else could be said?<|im_end|>\n"
        options = {"v2pe_delta": delta}
        return {"prompt": text, "images": images, "videos": videos, "options": options, "n": n}

    a, b, *frames = pictures
    rounds = {
        "first": [ask(1, [a])],
        "other delta": [ask(0.25, [a])],
        "first again": [ask(1, [a])],
        "other again": [ask(0.25, [a])],
        "two deltas in one step": [ask(0.5, [b]), ask(0.125, [b])],
        "one image at two deltas": [ask([0.25, 1], [a, a])],
        "and the other way round": [ask([1, 0.25], [a, a])],
        "both again": [ask([0.25, 1], [a, a]), ask([1, 0.25], [a, a])],
        "video": [ask(1, [], frames[:2])],
        "longer video, other delta": [ask(0.25, [], frames)],
        "image in front of the video": [ask([0.5, 0.25], [b], frames[:2])],
        "three answers": [ask(0.0625, [a], n=3)],
    }
    folder = tmp_path_factory.mktemp("sharing")
    spec, out = folder / "spec.json", folder / "result.json"
    spec.write_text(json.dumps({"model": str(opengvlab_checkpoint), "rounds": list(rounds.values())}))
    subprocess.run(
        [sys.executable, "-m", "tests.model.sharing_driver", str(spec), str(out)],
        env=engine_env | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
        check=True,
        timeout=900,
    )
    read = json.loads(out.read_text())
    return {
        name: read["rounds"][index] | {"without": read["without"][index]} for index, name in enumerate(rounds)
    }


def work(result: dict[str, Any], name: str) -> tuple[int, int]:
    """Return how many images and frames were cut, and how many tiles were encoded."""
    return result[name]["cut"], result[name]["encoded"]


def cached(result: dict[str, Any], name: str) -> list[int]:
    return [answer["cached"] for answer in result[name]["answers"]]


def test_another_delta_neither_cuts_nor_encodes_again(result: dict[str, Any]):
    assert work(result, "first") == (1, TILES)
    for name in ("other delta", "first again", "other again"):
        assert work(result, name) == (0, 0)
    assert work(result, "two deltas in one step") == (1, TILES)
    for name in ("one image at two deltas", "three answers"):
        assert work(result, name) == (0, 0)


def test_a_video_shares_its_frames(result: dict[str, Any]):
    assert work(result, "video") == (2, 2)
    assert work(result, "longer video, other delta") == (2, 2)  # Two of four frames are new.
    assert work(result, "image in front of the video") == (0, 0)


def test_text_before_an_image_is_shared_and_later_tokens_only_under_their_delta(result: dict[str, Any]):
    in_front = len(TEXT.encode()) - len("<|im_start|>") + 1
    shared = in_front // BLOCK * BLOCK
    assert shared >= 2 * BLOCK
    assert cached(result, "first") == [0]
    assert cached(result, "other delta") == [shared]
    with_image = (in_front + 1 + 4 * TILES + 1) // BLOCK * BLOCK  # The blocks up to the end of the image.
    for name in ("first again", "other again"):
        (tokens,) = cached(result, name)
        assert tokens >= with_image > shared
    # The first image of these prompts has the same delta as in "other delta" and in "first".
    assert cached(result, "one image at two deltas")[0] >= with_image
    assert cached(result, "and the other way round")[0] >= with_image
    first, second = cached(result, "both again")
    assert min(first, second) > with_image + 4 * TILES


def test_answers_are_those_of_an_engine_without_caches(result: dict[str, Any]):
    for name, round_ in result.items():
        # Three answers are drawn at random, so only their first step is the same.
        steps = 1 if name == "three answers" else None
        for got, expected in zip(round_["answers"], round_["without"], strict=True):
            assert expected["cached"] == 0
            assert steps or got["tokens"] == expected["tokens"], name
            for one, other in zip(got["logprobs"][:steps], expected["logprobs"][:steps], strict=True):
                common = one.keys() & other.keys()
                assert len(common) >= 4, name
                assert all(abs(one[token] - other[token]) < 1e-3 for token in common), name


def test_several_answers_have_one_prompt(result: dict[str, Any]):
    first, *others = (answer["logprobs"][0] for answer in result["three answers"]["answers"])
    assert len(others) == 2
    for other in others:
        assert all(abs(first[token] - other[token]) < 1e-3 for token in first.keys() & other.keys())


def test_deltas_change_answers(result: dict[str, Any]):
    """If deltas changed nothing, the other tests would prove nothing."""

    def logprobs(name: str) -> list[dict[str, float]]:
        return [answer["logprobs"][0] for answer in result[name]["answers"]]

    differing = [
        *logprobs("first"),
        *logprobs("other delta"),
        *logprobs("one image at two deltas"),
        *logprobs("and the other way round"),
    ]
    for one, other in combinations(differing, 2):
        common = one.keys() & other.keys()
        assert not common or max(abs(one[token] - other[token]) for token in common) > 1e-2
