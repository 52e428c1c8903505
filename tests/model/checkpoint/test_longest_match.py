"""The pattern finds the longest piece at each place, as a plain search for it does."""

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from model.checkpoint.longest_match import longest_match

# Few letters give pieces that begin alike. Some of them mean something in a pattern.
LETTERS = "abc^-]&\\()|.*é\n▁你😀\0"
MANY = [
    chr(0x4E00 + i) + ending for i in range(0, 60, 2) for ending in ("x", "xy")
]  # More than one look-ahead.


def cut(text: str, pieces: set[str]) -> list[str]:
    parts, start = [], 0
    while start < len(text):
        lengths = [length for length in range(1, 12) if text[start : start + length] in pieces]
        end = min(start + max(lengths, default=1), len(text))
        parts.append(text[start:end])
        start = end
    return parts


def split(text: str, pattern: str) -> list[str]:
    splitter = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return [part for part, _ in splitter.pre_tokenize_str(text)]


@given(
    pieces=st.sets(st.text(LETTERS, min_size=1, max_size=6), max_size=40),
    text=st.text(LETTERS, max_size=60),
)
def test_the_longest_piece_is_cut_at_each_place(pieces: set[str], text: str):
    assert split(text, longest_match(pieces)) == cut(text, pieces)


@given(st.text("".join(chr(0x4E00 + i) for i in range(60)) + "xy", max_size=60))
def test_many_first_characters_are_told_apart(text: str):
    assert split(text, longest_match(MANY)) == cut(text, set(MANY))


def test_the_pattern_writes_a_common_beginning_once():
    assert longest_match(["a", "ab", "abc", "abd"]) == "a(?:b(?:[cd])?)?|(?m:.)"
    assert longest_match([]) == "(?m:.)"
