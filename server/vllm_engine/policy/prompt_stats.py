"""What a rendered prompt holds besides text, and which positions it takes.

Read off vLLM's engine input, where our processor leaves images, frames and deltas by their place in the
prompt (docs/decisions/0011).
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
    """One prompt. `deltas`: in its order, one where it begins and one wherever it changes; none for text."""

    deltas: tuple[float, ...]
    tiles: int  # of images and frames, thumbnails included
    frames: int
    highest_position: float  # of the prompt's last token
    next_position: int  # of the answer's first


def prompt_stats(prompt: Mapping[str, Any], *, tokens_per_tile: int) -> PromptStats:
    """The sight of a prompt as vLLM's renderer returns it."""
    placeholders = prompt.get("mm_placeholders") or {}
    deltas = tuple(
        float(name.partition(":")[2]) for name in prompt.get("mm_hashes", {}).get(DELTA_MODALITY, ())
    )
    starts = [placeholder.offset for placeholder in placeholders.get(DELTA_MODALITY, ())]
    frames = placeholders.get("video", ())
    visual_T = np.zeros(len(prompt["prompt_token_ids"]), dtype=bool)
    delta_T = np.ones(len(visual_T))
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


def add_vision_report(reply: dict[str, Any], sight: PromptStats | None) -> dict[str, Any]:
    """vLLM's reply or chunk with `vision`, where the prompt has media. Deltas are items to vLLM: its count of
    tokens by kind of medium must not list them.
    """
    details = (reply.get("usage") or {}).get("prompt_tokens_details") or {}
    (details.get("multimodal_tokens") or {}).pop(DELTA_MODALITY, None)
    if sight is None or not sight.tiles:
        return reply
    delta = sight.deltas[0] if len(set(sight.deltas)) == 1 else list(sight.deltas)
    vision = VisionReport(
        v2pe_delta=delta, highest_position=sight.highest_position, tiles=sight.tiles, frames=sight.frames
    )
    return {**reply, "vision": vision.model_dump()}
