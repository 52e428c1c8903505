"""The texts that only a chat template may write, such as special tokens, and how a client's are told apart.

A mark is put behind the first character of each such text in what a client wrote. After that a tokenizer
doesn't recognise it any more. A text can also be forged in two halves, in neighbouring parts of a message. So
a mark also follows where a client's text ends with the beginning of a reserved text.
"""

from collections.abc import Iterable, Iterator, Sequence

from model.image_tokens import IMAGE_CONTEXT, IMAGE_TEXT, VIDEO_TEXT

MEDIA_TEXTS = (IMAGE_CONTEXT, IMAGE_TEXT, VIDEO_TEXT)
"""What templates write where an image or a video stands."""


def find_all(text: str, words: Iterable[str]) -> list[tuple[int, int]]:
    """Return (begin, end) of each occurrence of the words, overlapping ones too.

    They are sorted by their beginnings, and of those with one beginning the longest comes first. This is
    done with `str.find`, because a regular expression takes minutes for some texts of strangers.
    """
    found: list[tuple[int, int]] = []
    for word in words:
        begin = text.find(word)
        while begin >= 0:
            found.append((begin, begin + len(word)))
            begin = text.find(word, begin + 1)
    return sorted(found, key=lambda span: (span[0], -span[1]))


def cut(text: str, words: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text, in order, and whether each is one of the words.

    Of overlapping occurrences the leftmost counts, and of those the longest, as in a tokenizer.
    """
    end = 0
    for begin, next_end in find_all(text, words):
        if begin >= end:
            if text[end:begin]:
                yield text[end:begin], False
            yield text[begin:next_end], True
            end = next_end
    if text[end:]:
        yield text[end:], False


class ReservedTexts:
    """A set of texts that only the template may write. Each has at least two characters."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: Sequence[str] = sorted({text for text in texts if len(text) > 1})
        self._beginnings = {text[:length] for text in self._texts for length in range(1, len(text))}
        self._longest = max(map(len, self._texts), default=0)
        self._first_characters = {text[0] for text in self._texts}

    def mark(self, text: str, mark: str) -> str:
        """Return a text with the mark in each reserved text, and in the beginning of one at its end."""
        if not any(character in text for character in self._first_characters):
            return text
        begins = [
            len(text) - length
            for length in range(1, min(self._longest, len(text) + 1))
            if text[-length:] in self._beginnings
        ]
        for begin in begins:  # from the end of the text on, so that a mark moves none of the others
            text = text[: begin + 1] + mark + text[begin + 1 :]
        for word in self._texts:
            while word in text:  # occurrences that overlap take another round
                text = text.replace(word, word[0] + mark + word[1:])
        return text
