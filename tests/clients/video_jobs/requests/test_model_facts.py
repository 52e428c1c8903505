"""Tokens, positions and deltas are those that the server counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.requests.model_facts import ModelFacts
from model.v2pe import choose_deltas

TEXT = 10  # tokens of a frame's label


def medium_of(facts: ModelFacts, frames: int, text: str) -> list[int]:
    """The prompt as the server sees it: 0 for visual tokens of the one video, -1 for text."""
    frame = [-1] * TEXT + [0] * facts.frame_tokens
    return frame * frames + [-1] * (facts.other_tokens + facts.text_tokens(text))


@given(
    st.integers(1, 60),
    st.integers(0, 3000),
    st.integers(16, 2000),
    st.sampled_from([9, 64, 256]),
    st.sampled_from([2048, 8192, 16384]),
)
def test_the_delta_is_the_servers(frames: int, length: int, max_tokens: int, frame_tokens: int, window: int):
    facts = ModelFacts(frame_tokens, label_tokens=TEXT, window=window, is_measured=True)
    text = "x" * length
    delta = facts.fitting_delta(frames, text, max_tokens)
    medium_T = np.array(medium_of(facts, frames, text))
    assert facts.prompt_tokens(frames, text) == len(medium_T)
    try:
        (expected,) = choose_deltas(
            "auto", medium_T, max_tokens=max_tokens, window=window, growth=window // 8
        )
    except ValueError:
        assert delta is None
    else:
        # The client counts what follows the last frame as if it stood before it, so it may keep more room.
        assert delta is not None
        assert delta == expected or (delta == expected / 2 and facts.other_tokens > 0)


def test_the_side_of_a_frame_follows_from_its_tokens():
    assert ModelFacts().side == 448
    assert ModelFacts(frame_tokens=9).side == 84


def test_the_question_does_not_change_the_delta():
    facts = ModelFacts(window=8192)
    deltas = {facts.fitting_delta(64, "x" * length, 512) for length in range(0, 2000, 10)}
    assert deltas == {facts.fitting_delta(64, "", 512)}


@pytest.mark.parametrize("frames, delta", [(64, 1.0), (512, 0.125)])
def test_published_models(frames: int, delta: float):
    """64 frames of 256 tokens fit 32,768 positions as they are; 512 frames need an eighth."""
    assert ModelFacts().fitting_delta(frames, "What happens?", 1024) == delta
