"""Turn records into training samples with tokens, tiles, targets, weights and deltas.

All random numbers (JPEG quality, deltas, number of frames) come from one generator per record, so a record
can be prepared again exactly as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.images.tiling import TilingConfig
from model.v2pe import TRAINED_DELTAS
from ttscaling.records.chats import ChatRecord, Turn
from ttscaling.records.media_paths import media_path
from ttscaling.records.meta import DataSet
from ttscaling.train.settings.recipe import Average

from .chat_encoder import ChatEncoder, EncodedChat
from .media_markers import announce_frames, announce_images
from .media_tiles import image_tiles, jpeg_degraded, video_frames
from .sample import Sample, token_weight


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The settings by which records become samples.

    Each image draws its V2PE delta from `deltas`, and a single one fixes it. `frames` are the fewest and the
    most frames of a video, by default the published 8 and 32. `frame_label` stands before a frame's number.
    """

    encoder: ChatEncoder
    tiling: TilingConfig
    average: Average = "square"
    deltas: tuple[float, ...] = TRAINED_DELTAS
    frames: tuple[int, int] = (8, 32)
    frame_label: str = "Frame-"


def chat_sample(
    record: ChatRecord,
    data_set: DataSet,
    preparation: Preparation,
    rng: np.random.Generator,
    *,
    all_text: bool = False,
) -> Sample:
    """Return a conversation as a sample with the loss on the assistants' texts, as in fine-tuning.

    With `all_text` the loss is on all text, as in pre-training. Visual tokens are never a target. Raises
    RecordError if the media can't be used.
    """
    turns, images_NHWC = read_media(record.turns, record.images, record.video, data_set, preparation, rng)
    chat = preparation.encoder.encode(turns, [len(tiles) for tiles in images_NHWC])
    targets_T = (chat.ids_T != preparation.encoder.image_token) if all_text else chat.assistant_mask_T
    return next_token_sample(chat, _predicting_T(targets_T), images_NHWC, preparation, rng)


def next_token_sample(
    chat: EncodedChat,
    supervised_T: NDArray[np.bool_],
    images_NHWC: Sequence[NDArray[np.uint8]],
    preparation: Preparation,
    rng: np.random.Generator,
) -> Sample:
    """Return a sample with next-token targets, weights at the supervised positions, and a delta per image."""
    weight = token_weight(int(supervised_T.sum()), preparation.average)
    return Sample(
        ids_T=chat.ids_T,
        target_T=np.append(chat.ids_T[1:], chat.ids_T[-1:]),
        weight_T=np.where(supervised_T, weight, 0.0).astype(np.float32),
        deltas=tuple(rng.choice(preparation.deltas, size=len(images_NHWC)).tolist()),
        tiles_NHWC=np.concatenate(images_NHWC) if images_NHWC else None,
    )


def _predicting_T(targets_T: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the positions from which the marked tokens are predicted."""
    return np.append(targets_T[1:], False)


def read_media(
    turns: Sequence[Turn],
    images: Sequence[str],
    video: str | None,
    data_set: DataSet,
    preparation: Preparation,
    rng: np.random.Generator,
) -> tuple[tuple[Turn, ...], list[NDArray[np.uint8]]]:
    """Return the turns with slots for their media, and each image's tiles (tiles, side, side, 3).

    The frames of a video are images of one tile each. Raises RecordError if the media can't be used.
    """
    augment = rng if data_set.data_augment else None
    if video is None:
        tiling = preparation.tiling
        if data_set.max_dynamic_patch is not None:
            most = data_set.max_dynamic_patch
            tiling = replace(tiling, min_tiles=min(tiling.min_tiles, most), max_tiles=most)
        paths = [media_path(data_set.root, path) for path in images]
        return announce_images(turns, len(paths)), image_tiles(paths, tiling, augment=augment)
    fewest, most = preparation.frames
    frames_NHWC = video_frames(
        media_path(data_set.root, video), int(rng.integers(fewest, most + 1)), preparation.tiling
    )
    if augment is not None:
        frames_NHWC = jpeg_degraded(frames_NHWC, augment)
    announced = announce_frames(turns, len(frames_NHWC), label=preparation.frame_label)
    return announced, [frame_HWC[None] for frame_HWC in frames_NHWC]
