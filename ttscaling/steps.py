"""An answer's steps: the paragraphs that the critic judges one by one.

Upstream: `split("\\n\\n")` in VisualPRM's released scoring code and in OpenGVLab's reasoning data pipeline.
Deviation: upstream keeps blank paragraphs, so a trailing blank line is judged as an empty step. Here
paragraphs of white space alone are dropped: an empty judge turn occurs in no training record and its score
would move the mean.
"""

import math

SEPARATOR = "\n\n"


def split_steps(text: str, *, max_steps: int | None = None) -> tuple[str, ...]:
    """The paragraphs of `text`, verbatim and in order; never empty: a blank answer is one step, itself.

    With `max_steps` (16 in InternVL3's published data script, 12 in the paper, none in the released scorer),
    neighbours are merged evenly into groups of ceil(paragraphs / max_steps). Raises ValueError if it is below
    1.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, not {max_steps}")
    paragraphs = tuple(part for part in text.split(SEPARATOR) if part.strip())
    if not paragraphs:
        return (text,)
    if max_steps is None:
        return paragraphs
    size = math.ceil(len(paragraphs) / max_steps)
    return tuple(
        SEPARATOR.join(paragraphs[start : start + size]) for start in range(0, len(paragraphs), size)
    )
