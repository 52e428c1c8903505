"""The tiles, frames, deltas and positions of a rendered prompt, for the reply's field `vision`.

They are read from vLLM's engine input, where our processor records the slots of images, frames and deltas
(docs/decisions/0011).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.plugin.inputs.prompt_positions import DELTA_MODALITY
from model.v2pe import next_position, positions
from server.protocol.reply_fields import VisionReport


@dataclass(frozen=True, kw_only=True)
class PromptStats:
    """The visual contents and the positions of one prompt."""

    deltas: tuple[float, ...]  # the first delta and each change of it, in the prompt's order; empty for text
    tiles: int  # of all images and frames, including thumbnails
    frames: int
    highest_position: float  # the position of the prompt's last token
    next_position: int  # the position of the answer's first token


def prompt_stats(prompt: Mapping[str, Any], *, tokens_per_tile: int) -> PromptStats:
    """Return the stats of a prompt in the format of vLLM's renderer."""
    length = len(prompt["prompt_token_ids"])
    placeholders = prompt.get("mm_placeholders") or {}
    if not placeholders:  # each token of text has the position after the one before
        return PromptStats(
            deltas=(), tiles=0, frames=0, highest_position=float(length - 1), next_position=length
        )
    deltas = tuple(
        float(name.partition(":")[2]) for name in prompt.get("mm_hashes", {}).get(DELTA_MODALITY, ())
    )
    starts = [placeholder.offset for placeholder in placeholders.get(DELTA_MODALITY, ())]
    frames = placeholders.get("video", ())
    visual_T = np.zeros(length, dtype=bool)
    delta_T = np.ones(length)
    for placeholder in (*placeholders.get("image", ()), *frames):
        span = slice(placeholder.offset, placeholder.offset + placeholder.length)
        visual_T[span] = True
        delta_T[span] = deltas[np.searchsorted(starts, placeholder.offset) - 1]
    position_T = positions(visual_T, delta_T)
    return PromptStats(
        deltas=deltas,
        tiles=int(visual_T.sum()) // tokens_per_tile,
        frames=len(frames),
        highest_position=float(position_T[-1]),
        next_position=next_position(position_T),
    )


def add_vision_report(reply: dict[str, Any], stats: PromptStats | None) -> dict[str, Any]:
    """Return vLLM's reply or chunk with the field `vision`, if the prompt has media.

    vLLM treats deltas as media. This also removes them from its usage, which counts tokens by kind of medium.
    """
    details = (reply.get("usage") or {}).get("prompt_tokens_details") or {}
    (details.get("multimodal_tokens") or {}).pop(DELTA_MODALITY, None)
    vision = None if stats is None else vision_report(stats)
    return reply if vision is None else {**reply, "vision": vision}


def vision_report(stats: PromptStats) -> dict[str, Any] | None:
    """Return the reply's `vision` for a prompt, or None if it has no media."""
    if not stats.tiles:
        return None
    delta = stats.deltas[0] if len(set(stats.deltas)) == 1 else list(stats.deltas)
    return VisionReport(
        v2pe_delta=delta, highest_position=stats.highest_position, tiles=stats.tiles, frames=stats.frames
    ).model_dump()
