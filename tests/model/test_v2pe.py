"""Positions follow the paper's recurrence and survive their encoding, and deltas are chosen to fit."""

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.v2pe import (
    TRAINED_DELTAS,
    Deltas,
    choose_deltas,
    decode,
    encode,
    next_position,
    parse_delta,
    parse_deltas,
    positions,
    positions_needed,
)

T, V = False, True
kinds = st.lists(st.booleans(), max_size=60)
deltas = st.sampled_from(TRAINED_DELTAS)


def recurrence(visual_T: list[bool], delta_T: list[float]) -> list[float]:
    """Return positions by equations 2-4 of the paper, with the code's rounding after each visual run."""
    result: list[float] = []
    for index, (visual, delta) in enumerate(zip(visual_T, delta_T, strict=True)):
        if index == 0:
            result.append(0.0)
        elif visual:
            result.append(result[-1] + delta)
        else:
            result.append((ceil(result[-1]) if visual_T[index - 1] else result[-1]) + 1.0)
    return result


@pytest.mark.parametrize(
    ("visual_T", "delta", "expected"),
    [
        ([], 1, []),
        ([T, T, T], 0.5, [0, 1, 2]),
        ([T, V, V, V, V, T], 1, [0, 1, 2, 3, 4, 5]),
        ([T, V, V, V, V, T], 0.25, [0, 0.25, 0.5, 0.75, 1, 2]),
        ([T, V, V, V, T, T], 0.25, [0, 0.25, 0.5, 0.75, 2, 3]),  # 0.75 is rounded up before the text.
        ([V, V, T, V], 0.5, [0, 0.5, 2, 2.5]),
    ],
)
def test_known_positions(visual_T: list[bool], delta: float, expected: list[float]):
    result = positions(visual_T, delta)
    assert result.dtype == np.float64
    assert result.tolist() == expected


def test_complete_tiles_advance_by_an_integer():
    """A tile of 256 tokens at 1/256 takes one position, so rounding changes nothing."""
    for delta in TRAINED_DELTAS:
        visual_T = [T] * 3 + [V] * 256 * 13 + [T]
        assert positions(visual_T, delta)[-1] == 2 + 256 * 13 * delta + 1


@given(st.lists(st.tuples(st.booleans(), deltas), max_size=60))
def test_positions_follow_the_recurrence(tokens: list[tuple[bool, float]]):
    visual_T, delta_T = [v for v, _ in tokens], [d for _, d in tokens]
    assert positions(visual_T, delta_T).tolist() == recurrence(visual_T, delta_T)


@given(kinds)
def test_delta_one_is_the_ordinary_numbering(visual_T: list[bool]):
    assert positions(visual_T, 1).tolist() == list(range(len(visual_T)))


@given(kinds, st.integers(0, 20), deltas)
def test_an_answer_appended_to_the_prompt_keeps_its_positions(
    visual_T: list[bool], answer_tokens: int, delta: float
):
    """A preempted request returns with its answer after the prompt."""
    prompt_T = positions(visual_T, delta)
    all_T = positions([*visual_T, *[T] * answer_tokens], delta)
    assert all_T.tolist() == [*prompt_T.tolist(), *range(next_position(prompt_T), next_position(all_T))]


def test_sums_that_miss_an_integer_by_a_rounding_error_count_as_the_integer():
    assert positions([T, *[V] * 10, T], 0.1)[-1] == 2
    assert positions([*[T] * 8, *[V] * 10, T], 0.7)[-1] == 7 + 7 + 1


@given(kinds, deltas, st.integers(0, 2**20))
def test_encoding_is_exact_and_shifts_with_its_rows(visual_T: list[bool], delta: float, shift: int):
    position_T = positions(visual_T, delta)
    rows_3T = encode(position_T)
    assert rows_3T.dtype == np.int64
    assert rows_3T.shape == (3, len(visual_T))
    assert decode(rows_3T).tolist() == position_T.tolist()
    assert decode(rows_3T + shift).tolist() == (position_T + shift).tolist()


@given(st.lists(st.floats(0, 1e5), max_size=20))
def test_encoding_is_within_half_a_step(position_T: list[float]):
    assert np.all(np.abs(decode(encode(np.array(position_T))) - position_T) <= 0.5 / 4096)


def test_one_integer_in_all_rows_means_itself():
    """The engine gives a generated token one integer in all rows."""
    assert decode(np.array([[7], [7], [7]])).tolist() == [7]


def test_tensors_decode_in_their_own_type():
    rows_3T = torch.from_numpy(encode(np.array([65535 + 255 / 256, 3.5])))
    decoded_T = decode(rows_3T.to(torch.float32))
    assert decoded_T.dtype == torch.float32
    assert decoded_T.tolist() == [65535 + 255 / 256, 3.5]


@pytest.mark.parametrize("delta", [0, -1, 1.01, float("nan"), float("inf")])
def test_impossible_deltas_of_visual_tokens_are_refused(delta: float):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        positions([T, V], delta)


def test_deltas_of_text_tokens_are_not_read():
    assert positions([T, T, V], [9.0, -1.0, 0.5]).tolist() == [0, 1, 1.5]


@pytest.mark.parametrize("value", [1, 1.0, 0.25, 1 / 256, 0.3, "auto"])
def test_a_delta_can_be_any_number_to_one_or_auto(value: float | str):
    assert parse_delta(value) == value


@pytest.mark.parametrize(
    "value", [0, -1, 2, 1e-9, "x", "0.25", "", None, True, [0.5], {}, float("nan"), float("inf"), 10**400]
)
def test_other_deltas_are_refused_and_the_trained_ones_are_named(value: object):
    with pytest.raises(ValueError, match="1/256"):
        parse_delta(value)


def test_a_list_holds_a_delta_for_each():
    assert parse_deltas([1, 0.25]) == (1, 0.25)
    assert parse_deltas([]) == ()
    assert parse_deltas(0.5) == 0.5
    assert parse_deltas("auto") == "auto"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "not 2. The smallest number"),
        ([1, "auto"], "send it alone"),
        ([[1]], r"not \[1\]"),
        ("x", "not 'x'"),
    ],
)
def test_bad_lists_are_refused(value: object, message: str):
    with pytest.raises(ValueError, match=message):
        parse_deltas(value)


# The prompt has 30 positions of text, two images of 256 tokens and one of 128.
PROMPT = [*[-1] * 10, *[0] * 256, *[-1] * 10, *[1] * 256, -1, *[2] * 128, *[-1] * 9]


@pytest.mark.parametrize(
    ("requested", "window", "chosen"),
    [
        (1, 670, (1, 1, 1)),
        (0.5, 350, (0.5, 0.5, 0.5)),
        ((1, 0.5, 0.25), 30 + 256 + 128 + 32, (1, 0.5, 0.25)),
        ("auto", 670, (1, 1, 1)),
        ("auto", 669, (0.5, 0.5, 0.5)),
        ("auto", 33, (1 / 256,) * 3),
    ],
)
def test_deltas_are_chosen_to_fit(requested: Deltas, window: int, chosen: tuple[float, ...]):
    assert choose_deltas(requested, PROMPT, max_tokens=0, window=window) == chosen


@pytest.mark.parametrize("requested", [1, "auto", ()])
def test_text_alone_has_no_deltas(requested: Deltas):
    assert choose_deltas(requested, [-1] * 5, max_tokens=0, window=5) == ()


def test_room_for_the_answer_is_kept():
    assert choose_deltas("auto", PROMPT, max_tokens=0, window=670) == (1, 1, 1)
    assert choose_deltas("auto", PROMPT, max_tokens=1, window=670) == (0.5, 0.5, 0.5)


def test_auto_reserves_room_as_far_as_a_delta_allows():
    chosen = {
        reserve: choose_deltas("auto", PROMPT, max_tokens=0, window=670, reserve=reserve)[0]
        for reserve in (0, 1, 320, 480, 637, 638, 10_000)
    }
    assert chosen == {0: 1, 1: 0.5, 320: 0.5, 480: 1 / 4, 637: 1 / 256, 638: 1, 10_000: 1}
    assert choose_deltas(1, PROMPT, max_tokens=0, window=670, reserve=10_000) == (1, 1, 1)


def test_auto_changes_its_delta_less_often_with_room_for_growth():
    """The room counts from the last image on, so that text after it changes nothing for a while."""

    def chosen(text: int, *, growth: int, max_tokens: int = 8) -> float:
        turns = [*PROMPT, *[-1] * text]
        return choose_deltas("auto", turns, max_tokens=max_tokens, window=700, growth=growth)[0]

    assert [chosen(text, growth=0) for text in (0, 20, 40, 60)] == [1, 1, 0.5, 0.5]
    assert [chosen(text, growth=87) for text in (0, 20, 40, 60)] == [0.5, 0.5, 0.5, 0.5]
    assert [chosen(0, growth=87, max_tokens=limit) for limit in (1, 30, 60)] == [0.5, 0.5, 0.5]
    assert [chosen(text, growth=87) for text in (340, 360, 600, 659)] == [0.5, 0.25, 1 / 16, 1 / 256]
    assert chosen(0, growth=10_000) == 1, "no delta leaves that room"


@given(kinds, st.integers(0, 60), st.integers(0, 60))
def test_auto_never_takes_a_larger_delta_as_text_is_added(visual_T, growth, more):
    medium_T = [0 if visual else -1 for visual in [*visual_T, V]]
    room: dict[str, int] = {"max_tokens": 4, "window": 60, "growth": growth}
    try:
        later = choose_deltas("auto", [*medium_T, *[-1] * more], **room)
    except ValueError:  # nothing fits any more
        return
    assert later <= choose_deltas("auto", medium_T, **room)


@given(st.lists(st.tuples(st.booleans(), deltas), min_size=1, max_size=60))
def test_the_positions_needed_are_those_counted(tokens):
    """The sum over runs agrees with the recurrence, token by token."""
    medium_T = np.array([index if visual else -1 for index, (visual, _) in enumerate(tokens)])
    of_tokens = [delta for _, delta in tokens]
    expected = recurrence([visual for visual, _ in tokens], of_tokens)
    assert positions_needed(medium_T, tuple(of_tokens)) == ceil(expected[-1]) + 1


@pytest.mark.parametrize("length", [0, 2, 4])
def test_a_list_needs_a_delta_for_each(length: int):
    with pytest.raises(ValueError, match=f"v2pe_delta has {length} numbers for 3 images and videos"):
        choose_deltas((0.5,) * length, PROMPT, max_tokens=0, window=1000)


@pytest.mark.parametrize(
    ("requested", "problem"),
    [(1, "670 positions at v2pe_delta 1 "), ((1, 1, 0.5), r"606 positions at v2pe_delta 1, 0\.5 ")],
)
def test_the_error_for_a_long_prompt_names_the_largest_delta_that_fits(requested: Deltas, problem: str):
    with pytest.raises(ValueError, match=rf"{problem}.* fits is 1/4 \(0.25\)"):
        choose_deltas(requested, PROMPT, max_tokens=30, window=300)


@pytest.mark.parametrize("requested", ["auto", 1])
def test_the_error_for_a_prompt_that_never_fits_says_so(requested: Deltas):
    with pytest.raises(ValueError, match="No v2pe_delta makes it fit"):
        choose_deltas(requested, PROMPT, max_tokens=30, window=60)
