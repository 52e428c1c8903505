"""The normal form of a text: its words and signs, without differences of case that mean nothing."""

import re

_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_](?:[^\W_]|(?<=[^\W_])'(?=[^\W_]))*|[^\w\s]|_|\d")
_PAIRS = re.compile(r"(?:([a-z])\1)+", re.IGNORECASE)
_COMMON = re.compile(
    "no|ok|o[fnr]|i[nfst]|to|at|by|a[nsm]|pm|we|he|my|up|so|do|go|be|mr|dr|st|vs", re.IGNORECASE
)
_AND = re.compile(r",?\sand\s|(?<=[A-Za-z.])\s&\s(?=[A-Za-z]{2})")
_ABBREVIATION = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Jr|Sr|Inc|Ltd|Corp|No(?=\.\s?\d))\.")
_ARTICLE = re.compile("[Tt]he|[Aa]n?")
_HALF_OF_DAY = re.compile(r"\b([ap])\.\s?m\b\.?", re.IGNORECASE)


def words(text: str) -> str:
    """Return the words and signs of a text, one space apart.

    The case of a word doesn't matter if it is written in one of the usual ways. It matters where it can
    carry the meaning: in mixed case (CoS), in two letters (Co and CO), in one (R and r), and in pairs (the
    genotypes AA and aa). An article in front, the point of "Dr." and the word of "a and b" don't matter.
    """
    text = _HALF_OF_DAY.sub(r"\1m", _ABBREVIATION.sub(r"\1", _AND.sub(", ", text)))
    tokens = _TOKEN.findall(text.replace("\\{", "{").replace("\\}", "}"))
    if len(tokens) > 1 and _ARTICLE.fullmatch(tokens[0]) and tokens[1].isalpha() and len(tokens[1]) > 2:
        del tokens[0]
    if len(tokens) > 1 and tokens[0] == "A" and tokens[1].isalpha():
        tokens[0] = "a"
    return " ".join(map(_folded, tokens))


def _folded(word: str) -> str:
    usual = word.isupper() or word.islower() or word.istitle() or word[1:].islower()
    if len(word) < 2 or not usual or not word.replace("'", "").isalpha():
        return word
    if len(word) == 2 and not _COMMON.fullmatch(word):
        return word
    return word if _PAIRS.fullmatch(word) else word.lower()
