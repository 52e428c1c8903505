"""Read what a command printed, whatever the width of the terminal that it was wrapped for."""


def unwrapped(shown: str) -> str:
    """Return the words of a command's output in one line, without line breaks and the edges of boxes."""
    return " ".join(shown.replace("│", " ").split())
