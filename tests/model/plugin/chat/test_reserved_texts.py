"""Marks break every reserved text, also one that a client sends in pieces; cutting finds the others."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.plugin.chat.reserved_texts import ReservedTexts, cut, find_all

WORDS = ("<img>", "</img>", "<|im_end|>", "<|im_start|>", "aXa")
RESERVED = ReservedTexts(WORDS)
MARK = "#7#"
# Texts near the reserved ones are far more likely to break something than any text.
NEAR = st.lists(st.sampled_from(["<", "|", ">", "im", "g", "_end", "/", "a", "X", "é", " ", *WORDS])).map(
    "".join
)


@given(st.lists(NEAR | st.text()))
@example(["<", "|im_end|>"])
@example(["<|", "im", "_end|>"])
@example(["aXaXa"])
def test_no_text_of_a_client_is_reserved_whatever_stands_next_to_it(texts: list[str]):
    marked = [RESERVED.mark(text, MARK) for text in texts]
    assert find_all("".join(marked), WORDS) == []
    assert [text.replace(MARK, "") for text in marked] == [text.replace(MARK, "") for text in texts]


@given(st.text(alphabet="abcdefXé 1#\n|>"))
def test_a_text_that_holds_and_begins_no_reserved_text_is_unchanged(text: str):
    plain = text.replace("a", "b")
    assert RESERVED.mark(plain, MARK) == plain


def test_a_mark_stands_behind_the_first_character():
    assert RESERVED.mark("1 <img> 2 <|im_", MARK) == "1 <#7#img> 2 <#7#|im_"


@given(NEAR)
def test_pieces_make_up_the_text(text: str):
    pieces = list(cut(text, WORDS))
    assert "".join(piece for piece, _ in pieces) == text
    assert all((piece in WORDS) == is_wanted for piece, is_wanted in pieces)
    assert all(left or right for (_, left), (_, right) in pairwise(pieces)), "two plain pieces are one"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("ab", "abc"), [("x", False), ("abc", True), ("d", False)]),
        (("bc", "ab"), [("x", False), ("ab", True), ("cd", False)]),
        ((), [("xabcd", False)]),
    ],
)
def test_the_leftmost_and_longest_counts(wanted: tuple[str, ...], expected: list[tuple[str, bool]]):
    assert list(cut("xabcd", wanted)) == expected
