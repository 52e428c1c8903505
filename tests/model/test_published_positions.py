"""Our positions equal the published numbering, alone and after vLLM's processing of a prompt."""

import json
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.plugin.inputs.prompt_positions import prompt_positions
from model.v2pe import TRAINED_DELTAS, decode, positions
from tests.model.published_positions import (
    CONTEXT,
    END,
    GOLDEN,
    START,
    TEXT,
    Run,
    Segment,
    cases,
    published,
    summary,
    tokens,
)

EXPECTED: dict[str, Any] = json.loads(GOLDEN.read_text())


def runs_of(segments: list[Segment]) -> list[Run]:
    return [segment for segment in segments if isinstance(segment, Run)]


def our_positions(kinds: list[str], runs: list[Run]) -> np.ndarray[Any, Any]:
    """Return our positions of the same tokens; every context token has the delta of its run."""
    number = np.cumsum([kind == START for kind in kinds]) - 1
    deltas = np.array([*(float(run.delta) for run in runs), 1.0])
    return positions([kind == CONTEXT for kind in kinds], deltas[number])


@pytest.mark.parametrize("name", cases())
def test_positions_are_the_published_ones(name: str):
    segments = cases()[name]
    kinds = tokens(segments)
    assert summary(published(kinds, runs_of(segments)), kinds) == EXPECTED[name]
    assert summary(our_positions(kinds, runs_of(segments)).astype(np.float32), kinds) == EXPECTED[name]


def test_all_golden_prompts_are_compared():
    assert list(EXPECTED) == list(cases())
    assert {float(run.delta) for segments in cases().values() for run in runs_of(segments)} == set(
        TRAINED_DELTAS
    )


def features(output: Any) -> list[Any]:
    """Return the items of a processed prompt in its order, as the engine passes them to the model."""
    items = [
        SimpleNamespace(modality=modality, mm_position=placeholder, data=item)
        for modality, placeholders in output["mm_placeholders"].items()
        for placeholder, item in zip(placeholders, output["mm_kwargs"][modality], strict=True)
    ]
    return sorted(items, key=lambda feature: feature.mm_position.offset)


@pytest.mark.parametrize(
    ("prompt", "images", "videos", "deltas"),
    [
        ("<image>Which?", [(300, 190)], [], [1]),  # There are 6 tiles and the thumbnail, with 4 tokens each.
        ("Which? <image>", [(300, 190)], [], [1 / 256]),  # 28 / 256 positions are rounded up.
        ("<image>", [(50, 50)], [], [1 / 16]),
        ("<image><image> and <image>", [(50, 50), (60, 300), (50, 50)], [], [1 / 64, 1 / 2, 1 / 128]),
        ("See <video>\nand <image>!", [(120, 60)], [3], [1 / 8, 1 / 4]),
        ("<video><image><video>", [(50, 50)], [1, 4], [1 / 32, 1 / 32, 1 / 256]),
    ],
)
def test_the_processor_numbers_as_published(
    processor: Any, prompt: str, images: list[tuple[int, int]], videos: list[int], deltas: list[float]
):
    data: dict[str, Any] = {"image": [Image.new("RGB", size) for size in images]} if images else {}
    data |= {"video": [np.zeros((frames, 30, 40, 3), np.uint8) for frames in videos]} if videos else {}
    items = processor.info.parse_mm_data(data)
    output = processor(prompt, items, hf_processor_mm_kwargs={"v2pe_delta": deltas})
    ids, special = output["prompt_token_ids"], processor.info.image_tokens
    names = {special.start: START, special.end: END, special.context: CONTEXT}
    kinds = [names.get(token, TEXT) for token in ids]

    # The runs are found by their first and last tokens alone, as in the published code.
    edges = [index for index, kind in enumerate(kinds) if kind in (START, END)]
    sizes = [(end - start - 1) // 4 for start, end in zip(edges[::2], edges[1::2], strict=True)]
    media = {"image": [[1]] * len(images), "video": [[1] * frames for frames in videos]}
    order = [
        media[word[1:-1]].pop(0)
        for word in prompt.replace("<", " <").replace(">", "> ").split()
        if "<" in word
    ]
    of_run = [Fraction(delta) for delta, frames in zip(deltas, order, strict=True) for _ in frames]
    runs = [Run(size, delta) for size, delta in zip(sizes, of_run, strict=True)]

    rows_3T, offset = prompt_positions(len(ids), features(output))
    expected_T = published(kinds, runs, tokens_per_tile=4)
    assert np.array_equal(decode(rows_3T).astype(np.float32), expected_T)
    assert len(ids) + offset == np.ceil(expected_T[-1]) + 1
