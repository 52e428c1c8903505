"""Turn a decoded RGB image into the tiles that a model takes, for `internvl3 bench preprocess`.

Peers are called as their owners call them, with InternVL3's settings. They normalise on the CPU and return
float32. We return uint8, and the model's device normalises; so a second entry of ours normalises on the CPU
too.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from model.images.tiling import TilingConfig, tile_image

SIDE, MAX_TILES = 448, 12
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETTINGS = {
    "size": {"height": SIDE, "width": SIDE},
    "crop_to_patches": True,
    "min_patches": 1,
    "max_patches": MAX_TILES,
    "image_mean": MEAN,
    "image_std": STD,
}


def photo(width: int, height: int) -> Image.Image:
    """Return a detailed image, noise at several scales, which is the same for every system."""
    random = np.random.default_rng(7)
    pixels = np.zeros((height, width, 3), np.float32)
    for scale in (4, 16, 64):
        shape = (height // scale + 1, width // scale + 1, 3)
        layer = Image.fromarray(random.integers(0, 256, shape).astype(np.uint8))
        pixels += np.asarray(layer.resize((width, height)), np.float32) / 3
    return Image.fromarray(pixels.astype(np.uint8))


def save(pixels_NHWC: np.ndarray[Any, Any], folder: str) -> str:
    """Write pixels with values in 0..255 to a new file in `folder`, and return its path."""
    path = Path(folder) / f"{np.random.default_rng().integers(2**62)}.npy"
    np.save(path, pixels_NHWC.astype(np.float32))
    return str(path)


class _System:
    """What all systems have in common: one thread and the same image."""

    def __init__(self) -> None:
        torch.set_num_threads(1)

    def prepare(self, case: Mapping[str, Any]) -> tuple[Image.Image, str]:
        return photo(*case["size"]), case["folder"]


class Ours(_System):
    """Our uint8 tiles, as model/plugin/inputs/processor.py makes them."""

    config = TilingConfig(SIDE, 1, MAX_TILES, use_thumbnail=True)

    def work(self, prepared: tuple[Image.Image, str]) -> tuple[torch.Tensor, str]:
        image, folder = prepared
        return torch.from_numpy(tile_image(image, self.config)), folder

    def summary(self, result: tuple[torch.Tensor, str]) -> str:
        return save(result[0].numpy(), result[1])


class OursNormalised(Ours):
    """Our tiles, normalised on this core as model/plugin/network/internvl.py does on the device."""

    def work(self, prepared: tuple[Image.Image, str]) -> tuple[torch.Tensor, str]:
        tiles_NHWC, folder = super().work(prepared)
        return (tiles_NHWC.to(torch.float32) / 255 - torch.tensor(MEAN)) / torch.tensor(STD), folder

    def summary(self, result: tuple[torch.Tensor, str]) -> str:
        return save(_denormalised(result[0]), result[1])


class Vllm(_System):
    """vLLM's image processor for InternVL."""

    def __init__(self) -> None:
        super().__init__()
        self._library = stand_in_for_torchvisions_library()
        from vllm.transformers_utils.processors.internvl import InternVLImageProcessor

        self._processor = InternVLImageProcessor(SIDE, 1, MAX_TILES, True, True)

    def work(self, prepared: tuple[Image.Image, str]) -> tuple[torch.Tensor, str]:
        image, folder = prepared
        return self._processor(image)["pixel_values_flat"], folder

    def summary(self, result: tuple[torch.Tensor, str]) -> str:
        return save(_denormalised(result[0].permute(0, 2, 3, 1)), result[1])


class Transformers(Vllm):
    """transformers' default image processor for InternVL3, which needs torchvision."""

    def __init__(self) -> None:
        _System.__init__(self)
        self._library = stand_in_for_torchvisions_library()
        from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor

        self._processor = GotOcr2ImageProcessor(**SETTINGS)

    def work(self, prepared: tuple[Image.Image, str]) -> tuple[torch.Tensor, str]:
        image, folder = prepared
        return self._processor(image, return_tensors="pt")["pixel_values"], folder


class TransformersPil(Transformers):
    """transformers' image processor for InternVL3 with its Pillow backend, without torchvision."""

    def __init__(self) -> None:
        _System.__init__(self)
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

        self._processor = GotOcr2ImageProcessorPil(**SETTINGS)


def stand_in_for_torchvisions_library() -> torch.library.Library | None:
    """Make torchvision's Python part importable where its library, linked to CUDA, can't be loaded.

    On import, that part annotates two operators of the library. This function declares them without code,
    since the transforms that the peers use don't call them. The declarations last as long as the returned
    object. None is returned where nothing needs a declaration, or torchvision is missing.
    """
    package = find_spec("torchvision")
    if package is None or package.origin is None:
        return None  # The peer's import will raise the error.
    try:
        for file in Path(package.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(file))
    except OSError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


def _denormalised(pixels_NHWC: torch.Tensor) -> np.ndarray[Any, Any]:
    return ((pixels_NHWC * torch.tensor(STD) + torch.tensor(MEAN)) * 255).numpy()
