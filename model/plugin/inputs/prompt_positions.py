"""Compute the positions of a prompt from vLLM's features, which hold the visual spans and the deltas."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.v2pe import encode, next_position, positions

DELTA_MODALITY = "v2pe"
"""The modality of items that carry a delta; the items of other modalities carry pixels."""


def prompt_positions(num_tokens: int, features: Iterable[Any]) -> tuple[NDArray[np.int64], int]:
    """Return a prompt's encoded positions (3, T), and the number that turns a later index into a position.

    The position of a later token is its index in the sequence plus that number. Images and frames are found
    by their spans in the prompt, never by token ids, because a preempted request returns with its answer
    appended to the prompt, and the answer may contain any token. A delta holds for all media after it, up to
    the next delta.

    Args:
        num_tokens: T.
        features: vLLM's `MultiModalFeatureSpec` of each image, frame and delta, in the order of the prompt.

    Raises:
        RuntimeError: an image or frame has no delta before it.
    """
    visual_T = np.zeros(num_tokens, dtype=bool)
    delta_T = np.ones(num_tokens)
    delta = None
    for feature in features:
        if feature.modality == DELTA_MODALITY:
            delta = feature.data["v2pe_delta"].data.item()
            continue
        if delta is None:
            raise RuntimeError(
                f"{feature.modality} without a delta: it must come through InternVLMultiModalProcessor"
            )
        slot = feature.mm_position
        span = slice(slot.offset, slot.offset + slot.length)
        visual_T[span] = True
        delta_T[span] = delta
    position_T = positions(visual_T, delta_T)
    return encode(position_T), next_position(position_T) - num_tokens
