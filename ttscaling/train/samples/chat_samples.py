"""Records as training samples: media read, conversation encoded, targets, weights and deltas set.

Everything random (JPEG quality, deltas, number of frames) comes from one generator per record, so a record
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
from ttscaling.train.settings.kinds import History
from ttscaling.train.settings.recipe import Average

from .chat_encoder import ChatEncoder, EncodedChat
from .critic_chats import CriticRecord, critic_turns
from .media_markers import announce_frames, announce_images
from .media_tiles import image_tiles, jpeg_degraded, video_frames
from .sample import Sample, token_weight


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How records become samples.

    `deltas` are what each image draws its V2PE step from (a single one fixes it). `frames` are the fewest and
    the most frames of a video, the published 8 to 32; `frame_label` goes before a frame's number.
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
    """A conversation with the loss on what assistants say (fine-tuning), or on all text (pre-training).

    Visual tokens are never a target. Raises RecordError.
    """
    turns, images_NHWC = read_media(record.turns, record.images, record.video, data_set, preparation, rng)
    chat = preparation.encoder.encode(turns, [len(tiles) for tiles in images_NHWC])
    wanted_T = (chat.ids_T != preparation.encoder.image_token) if all_text else chat.assistant_mask_T
    return next_token_sample(chat, _next_T(wanted_T), images_NHWC, preparation, rng)


def critic_sample(
    record: CriticRecord,
    data_set: DataSet,
    preparation: Preparation,
    rng: np.random.Generator,
    *,
    history: History = "plus",
) -> Sample:
    """A critic's conversation with the loss at its judgements only, each on `+`, `-` or `=`.

    Raises RecordError.
    """
    asked, images_NHWC = read_media(
        (Turn("user", record.question),), record.images, record.video, data_set, preparation, rng
    )
    turns = critic_turns(replace(record, question=asked[0].text), history=history)
    chat = preparation.encoder.encode(turns, [len(tiles) for tiles in images_NHWC], answering=True)
    slots = np.array(chat.slots)
    supervised_T = np.zeros(len(chat.ids_T), dtype=bool)
    supervised_T[slots] = True
    sample = next_token_sample(chat, supervised_T, images_NHWC, preparation, rng)
    labels = [preparation.encoder.ids(label) for label in record.labels]
    if any(len(ids) != 1 for ids in labels):
        raise ValueError("the tokenizer has no single token for '+', '-' or '=': it can't train a critic")
    sample.target_T[slots] = [ids[0] for ids in labels]
    return sample


def next_token_sample(
    chat: EncodedChat,
    supervised_T: NDArray[np.bool_],
    images_NHWC: Sequence[NDArray[np.uint8]],
    preparation: Preparation,
    rng: np.random.Generator,
) -> Sample:
    """Next-token targets, weights at the supervised positions, and a delta for each image."""
    weight = token_weight(int(supervised_T.sum()), preparation.average)
    return Sample(
        ids_T=chat.ids_T,
        target_T=np.append(chat.ids_T[1:], chat.ids_T[-1:]),
        weight_T=np.where(supervised_T, weight, 0.0).astype(np.float32),
        deltas=tuple(rng.choice(preparation.deltas, size=len(images_NHWC)).tolist()),
        tiles_NHWC=np.concatenate(images_NHWC) if images_NHWC else None,
    )


def _next_T(wanted_T: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The positions from which a wanted token is predicted."""
    return np.append(wanted_T[1:], False)


def read_media(
    turns: Sequence[Turn],
    images: Sequence[str],
    video: str | None,
    data_set: DataSet,
    preparation: Preparation,
    rng: np.random.Generator,
) -> tuple[tuple[Turn, ...], list[NDArray[np.uint8]]]:
    """The turns with their media announced, and each image's tiles; a video's frames are images of a tile."""
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
