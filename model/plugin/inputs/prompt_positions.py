"""From what vLLM knows of a prompt to its positions: which tokens are visual, and with which delta."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.v2pe import encode, next_position, positions

DELTA_MODALITY = "v2pe"
"""vLLM's name for the items that carry a delta; the others carry pixels."""


def prompt_positions(num_tokens: int, features: Iterable[Any]) -> tuple[NDArray[np.int64], int]:
    """Encoded positions (3, T) of a prompt, and what to add to a later token's index to get its position.

    Images and frames are found by their place in the prompt, never by token ids: a preempted request comes
    back with its answer appended to the prompt, and the answer may hold any token. A delta holds for all that
    stands behind it, up to the next delta.

    Args:
        num_tokens: T.
        features: vLLM's `MultiModalFeatureSpec` of each image, frame and delta, in the order of the prompt.

    Raises:
        RuntimeError: an image with no delta in front of it.
    """
    visual_T = np.zeros(num_tokens, dtype=bool)
    delta_T = np.ones(num_tokens)
    delta = None
    for feature in features:
        if feature.modality == DELTA_MODALITY:
            delta = feature.data["v2pe_delta"].data.item()
            continue
        if delta is None:
            raise RuntimeError(f"{feature.modality} without a delta: it didn't come through our processor")
        slot = feature.mm_position
        span = slice(slot.offset, slot.offset + slot.length)
        visual_T[span] = True
        delta_T[span] = delta
    position_T = positions(visual_T, delta_T)
    return encode(position_T), next_position(position_T) - num_tokens
