"""Read the option for a system message, which takes a text or a file."""

from pathlib import Path

NONE = "none"


def text_or_file(value: str | None) -> str | None:
    """Return a system message as it is given, or the content of the file that is named.

    White space around a file's content is left out. `none` gives an empty message, as for the server.
    """
    if value == NONE:
        return ""
    try:
        return Path(value).read_text(encoding="utf-8").strip() if value and Path(value).is_file() else value
    except OSError:  # a long text can't be the name of a file
        return value
