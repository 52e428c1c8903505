"""The estimated tokens of a request: its prompt for each model, and its answers for each candidate."""

from typing import Any

import pytest

from server.protocol.chat_call import parse_call
from server.protocol.completion_call import parse_completion
from server.protocol.weight import chat_weight, completion_weight, prompt_weight, scoring_weight
from tests.server.apps import question, settings

WINDOW = 10_000
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}}
FRAMES = {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64,YQ==,Yg==,Yw=="}}


def weight(**fields: Any) -> int:
    """The weight of a chat request whose text is about one token."""
    messages = [{"role": "user", "content": fields.pop("content", "four")}]
    return chat_weight(parse_call(question(messages=messages, **fields), settings()), WINDOW)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_tokens": 10}, 1 + 10),
        ({"max_completion_tokens": 10}, 1 + 10),
        ({}, 1 + 1024),
        ({"max_tokens": 10**9}, 1 + WINDOW),
        ({"max_tokens": 10, "best_of": 8}, 2 * (1 + 8 * 10)),  # policy and critic
        ({"max_tokens": 10, "model": "nano:bo8"}, 2 * (1 + 8 * 10)),
        ({"max_tokens": 10, "test_time_scaling": {"method": "self_consistency", "n": 8}}, 1 + 8 * 10),
        ({"max_tokens": 10, "content": "x" * 400}, 100 + 10),
        ({"max_tokens": 10, "content": [IMAGE]}, 12 * 256 + 10),
        ({"max_tokens": 10, "content": [IMAGE, IMAGE], "max_dynamic_patch": 1}, 2 * 256 + 10),
        ({"max_tokens": 10, "content": [VIDEO]}, 32 * 256 + 10),
        (
            {"max_tokens": 10, "content": [VIDEO], "media_io_kwargs": {"video": {"num_frames": 4}}},
            4 * 256 + 10,
        ),
        ({"max_tokens": 10, "content": [VIDEO], "media_io_kwargs": {"video": {"fps": 1}}}, WINDOW + 10),
        ({"max_tokens": 10, "content": [FRAMES]}, 3 * 256 + 10),
        (
            {"max_tokens": 10, "content": [FRAMES], "media_io_kwargs": {"video": {"num_frames": 2}}},
            2 * 256 + 10,
        ),
        ({"max_tokens": 10, "content": [FRAMES, VIDEO]}, (3 + 32) * 256 + 10),
    ],
)
def test_the_weight_follows_from_the_fields(fields: dict[str, Any], tokens: int):
    assert weight(**fields) == tokens


def test_a_prompt_is_never_longer_than_the_window():
    call = parse_call(question(messages=[{"role": "user", "content": [IMAGE] * 30}]), settings())
    assert prompt_weight(call, WINDOW) == WINDOW


def test_scoring_reads_the_media_once_and_the_texts_for_each_answer():
    messages = [{"role": "user", "content": [IMAGE, {"type": "text", "text": "?"}]}]
    assert scoring_weight(messages, characters=4000, window=WINDOW) == 1000 + 12 * 256


@pytest.mark.parametrize(
    ("body", "weight"),
    [
        ({"prompt": "x" * 40}, 10 + 16),
        ({"prompt": ["x" * 40, "x" * 80], "max_tokens": 5, "n": 3}, 30 + 2 * 3 * 5),
        ({"prompt": [7] * 40, "max_tokens": 100_000}, 40 + 1000),
        ({"prompt": [[7] * 40, [8] * 5000], "max_tokens": 1}, 40 + 1000 + 2),
    ],
)
def test_a_completion_weighs_its_prompts_and_its_answers(body: dict[str, Any], weight: int):
    assert completion_weight(parse_completion(body, settings()), 1000) == weight
