"""Split an answer into steps: the paragraphs that the critic scores one by one.

Upstream: `split("\\n\\n")` in VisualPRM's released scoring code and in OpenGVLab's reasoning data pipeline.
Deviation: upstream keeps blank paragraphs, so a blank line at the end is scored as an empty step. Here
paragraphs of white space alone are dropped, because no training record has an empty step, and the score of
one would move the mean.
"""

import math

SEPARATOR = "\n\n"


def finished_steps(draft: str) -> tuple[str, ...]:
    """Return the steps of a draft that can't change any more: all its paragraphs but the last one.

    Whatever is written after the draft, these are the first steps that `split_steps` finds in the answer.
    """
    return tuple(part for part in draft.split(SEPARATOR)[:-1] if part.strip())


def split_steps(text: str, *, max_steps: int | None = None) -> tuple[str, ...]:
    """Return the paragraphs of `text`, unchanged and in order. There is at least one.

    A blank answer is one step. With `max_steps` (16 in InternVL3's published data script, 12 in the paper,
    none in the released scorer), neighbours are merged evenly into groups of ceil(paragraphs / max_steps).
    Raises ValueError if `max_steps` is below 1.
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
