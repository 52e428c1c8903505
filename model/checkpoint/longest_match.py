"""A regular expression that cuts a text into the longest pieces of a vocabulary, in linear time.

sentencepiece cuts the pieces that a model file calls user-defined in this way: from left to right, and always
the longest piece that begins at the place. tokenizers has no model that does so, but it can split a text by a
regular expression before the model sees it (`tokenizers.pre_tokenizers.Split`).
"""

from collections.abc import Iterable
from itertools import groupby

_FEW = 8  # So many alternatives are tried one after the other; more are searched by halves.


def longest_match(pieces: Iterable[str]) -> str:
    r"""Return a pattern that matches the longest piece at a place, or else one character.

    The pattern is written for Oniguruma, the library behind `tokenizers.Regex`. It is the pieces' trie: a
    beginning that several pieces share is written once. No two alternatives begin with the same character, so
    the matcher never walks a path twice, and the longest piece bounds the time for a place in any text.

    Args:
        pieces: the vocabulary's pieces, for example ``["a", "ab", "abc"]``, whose pattern is
            ``a(?:b(?:[c])?)?|(?m:.)``.
    """
    words = sorted(set(pieces) - {""})
    any_character = "(?m:.)"  # In Oniguruma's default syntax, m says that the dot also matches a line break.
    return f"{_alternatives(words)}|{any_character}" if words else any_character


def _alternatives(words: list[str]) -> str:
    """Return the pattern of several words. They are sorted and distinct, and none is empty."""
    branches: list[
        tuple[str, str]
    ] = []  # The first character, and the pattern of all words that begin with it.
    leaves: list[str] = []
    for first, group in groupby(words, key=lambda word: word[0]):
        same = list(group)
        if same == [first]:
            leaves.append(_escaped(first))
            continue
        shared = _shared(same[0], same[-1])
        tails = [word[shared:] for word in same]
        branches.append((first, _escaped(same[0][:shared]) + _tails(tails)))
    patterns = [_choice(branches)] if branches else []
    patterns += [f"[{''.join(leaves)}]"] if leaves else []
    return "|".join(patterns)


def _shared(first: str, last: str) -> int:
    """Return how many characters the beginnings of two words share, and all words between them."""
    pairs = zip(first, last, strict=False)
    return next(
        (index for index, (one, other) in enumerate(pairs) if one != other), min(len(first), len(last))
    )


def _tails(tails: list[str]) -> str:
    if tails == [""]:
        return ""
    return f"(?:{_alternatives(tails[1:])})?" if tails[0] == "" else f"(?:{_alternatives(tails)})"


def _choice(branches: list[tuple[str, str]]) -> str:
    """Return the alternatives, with a look at the next character before each half if they are many."""
    if len(branches) <= _FEW:
        return "|".join(pattern for _, pattern in branches)
    middle = len(branches) // 2
    halves = branches[:middle], branches[middle:]
    return "|".join(
        f"(?=[{_escaped(half[0][0])}-{_escaped(half[-1][0])}])(?:{_choice(half)})" for half in halves
    )


def _escaped(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"\\x{{{ord(letter):x}}}" for letter in text)
