"""The images, videos and deltas of a request as vLLM's items, after a check of what the caller sent.

A caller sends a video as one item, and the engine gets one item for each frame. So the engine encodes, caches
and sends frames one by one, however long the video is, and no item is larger than an image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from vllm.multimodal.media import MediaWithBytes
from vllm.multimodal.parse import (
    ImageProcessorItems,
    ModalityDataItems,
    MultiModalDataParser,
    ProcessorBatchItems,
)

from model.images.file import is_upright

from .prompt_positions import DELTA_MODALITY


@dataclass(frozen=True)
class Frame:
    """One frame of a video: uint8 pixels (height, width, 3), or tiles (tiles, side, side, 3) cut from it."""

    pixels: NDArray[np.uint8]

    @property
    def is_cut(self) -> bool:
        """Whether the frame is already cut into tiles."""
        return self.pixels.ndim == 4


@dataclass(frozen=True)
class Clip:
    """A video: its frames, all of one shape, and the seconds at which they are shown, if known."""

    frames: tuple[Frame, ...]
    times_F: tuple[float, ...] | None


class ClipItems(ProcessorBatchItems[Clip]):
    """The videos of a request, one item for each video."""

    def __init__(self, data: Sequence[Clip]) -> None:
        super().__init__(data, "video")


class FrameItems(ProcessorBatchItems[Frame]):
    """The frames of all videos of a request, one item for each frame."""

    def __init__(self, data: Sequence[Frame]) -> None:
        super().__init__(data, "video")

    def get_item_for_hash(self, index: int) -> Any:
        return np.ascontiguousarray(self.data[index].pixels)


class DeltaItems(ProcessorBatchItems[float]):
    """The deltas of a request's prompt, one item for each delta marker."""

    def __init__(self, data: Sequence[float]) -> None:
        super().__init__(data, DELTA_MODALITY)

    def get_processor_data(self) -> Mapping[str, object]:
        return {"deltas": self.data}


class InternVLDataParser(MultiModalDataParser):
    """The parser of `multi_modal_data`, called for a request and again for the items that vLLM selects."""

    def _get_subparsers(self) -> Mapping[str, Callable[[Any], ModalityDataItems[Any, Any] | None]]:
        return {
            "image": self._parse_image_data,
            "video": self._parse_video_data,
            DELTA_MODALITY: DeltaItems,
        }

    def _parse_image_data(self, data: Any) -> ModalityDataItems[Any, Any] | None:
        _refuse_embeddings(self, data)
        images = [data] if isinstance(data, Image.Image) else data
        if isinstance(images, list) and images and all(map(_is_ready, images)):
            return ImageProcessorItems(images)  # vLLM would copy each image, twice for a request
        return super()._parse_image_data(data)

    def _parse_video_data(self, data: Any) -> ModalityDataItems[Any, Any] | None:
        if data is None:
            return None
        _refuse_embeddings(self, data)
        if isinstance(data, list) and data and all(isinstance(item, Frame) for item in data):
            return FrameItems(data)
        return ClipItems([read_clip(item) for item in ([data] if _is_one_video(data) else data)])


def _is_ready(image: Any) -> bool:
    """Return whether vLLM would neither turn an image as its EXIF says nor convert it."""
    return isinstance(image, Image.Image) and image.mode == "RGB" and is_upright(image)


def read_clip(video: Any) -> Clip:
    """Return one video as a clip, after a check.

    Args:
        video: frames as a uint8 array (frames, height, width, 3) or a list of PIL images, or tiles that are
            already cut, (frames, tiles, side, side, 3). It may also be a pair of these and metadata, a dict
            that may hold `times`, the seconds at which the frames are shown.

    Raises:
        ValueError: `video` is anything else; the message says what to send.
    """
    if isinstance(video, MediaWithBytes):
        video = video.media
    frames, metadata = video if isinstance(video, tuple) and len(video) == 2 else (video, None)
    if isinstance(frames, MediaWithBytes):
        frames = frames.media
    if not isinstance(frames, list | np.ndarray | torch.Tensor):
        raise ValueError(
            f"a video must be frames or tiles, not {type(frames).__name__}: "
            "send an array or a list of PIL images"
        )
    arrays = [_array(frame) for frame in frames] if isinstance(frames, list) else _array(frames)
    if len(arrays) == 0:
        raise ValueError("a video needs at least one frame: send a longer one")
    first = arrays[0]
    if first.dtype != np.uint8 or first.ndim not in (3, 4) or first.shape[-1] != 3:
        raise ValueError(
            "a video must be uint8 frames (frames, height, width, 3) or a list of PIL images, or tiles "
            f"(frames, tiles, side, side, 3); each frame of this one is {first.dtype} {first.shape}"
        )
    if any(array.shape != first.shape for array in arrays):
        raise ValueError("all frames of a video must have the same size: resize them to one size")
    return Clip(tuple(Frame(array) for array in arrays), _times(metadata, len(arrays)))


def _times(metadata: Any, num_frames: int) -> tuple[float, ...] | None:
    if metadata is None or metadata.get("times") is None:
        return None
    times_F = tuple(float(time) for time in metadata["times"])
    if len(times_F) != num_frames or not all(0 <= time < float("inf") for time in times_F):
        raise ValueError(
            f"a video's metadata needs one time in seconds for each of its {num_frames} frames, "
            f"not {len(times_F)} numbers"
            if len(times_F) != num_frames
            else "a video's times must be seconds from 0 on"
        )
    return times_F


def _array(frame: Any) -> NDArray[Any]:
    if isinstance(frame, Image.Image):
        return np.asarray(frame.convert("RGB"))
    return frame.numpy() if isinstance(frame, torch.Tensor) else np.asarray(frame)


def _is_one_video(data: Any) -> bool:
    if isinstance(data, list):
        return bool(data) and all(
            isinstance(item, Image.Image) or (isinstance(item, np.ndarray | torch.Tensor) and item.ndim == 3)
            for item in data
        )
    return isinstance(data, tuple | np.ndarray | torch.Tensor | MediaWithBytes)


def _refuse_embeddings(parser: MultiModalDataParser, data: Any) -> None:
    if isinstance(data, dict) or parser.is_embeddings(data):
        raise ValueError(
            "InternVL takes images and videos as pixels, not as embeddings, which have neither tiles nor a "
            "delta. Send PIL images or uint8 arrays"
        )
