"""Text of a server, made safe to print on a terminal."""

import unicodedata

from rich.text import Text

# A terminal obeys control characters (Cc). Surrogates (Cs) can't be written as UTF-8.
UNPRINTABLE = {"Cc", "Cs"}
# These turn the direction of all text behind them, so that it reads as something else.
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LONGEST_LINE = 300  # characters of an error or of a report on the progress


def printable(text: str) -> Text:
    """Return the text without characters that a terminal would obey; it is not read as markup."""
    shown = (char if _is_plain(char) else "\N{REPLACEMENT CHARACTER}" for char in text.replace("\r\n", "\n"))
    return Text("".join(shown))


def printable_line(text: str) -> Text:
    """Return the text as one line that is safe to print, and cut off where it is very long."""
    line = " ".join(text.split())
    return printable(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ...")


def _is_plain(char: str) -> bool:
    return char in "\n\t" or (unicodedata.category(char) not in UNPRINTABLE and char not in DIRECTIONS)
