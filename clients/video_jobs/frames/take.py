"""What is taken of a video: how many frames of each second, of which size and quality."""

from dataclasses import asdict, dataclass
from typing import Any

LOOKS = 1  # the version of what is kept beside the pixels, see look.py


@dataclass(frozen=True)
class Take:
    """The frames that are shown at the ticks 0, 1/fps, 2/fps, ..., each as a square JPEG of `side` pixels.

    The model sees a frame as one square tile, whatever its shape, so nothing is lost if `side` is the tile's.
    Raises ValueError for a value out of range.
    """

    fps: float = 1.0
    side: int = 448
    quality: int = 90

    def __post_init__(self) -> None:
        if not 0.001 <= self.fps <= 60:
            raise ValueError(f"a second must give between 0.001 and 60 frames, not {self.fps:g}")
        if not 16 <= self.side <= 4096:
            raise ValueError(f"a frame's side must be from 16 to 4096 pixels, not {self.side}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"the quality of a JPEG must be from 1 to 100, not {self.quality}")

    @property
    def name(self) -> str:
        """The take as a part of a folder's name; two takes have the same name only if they are equal."""
        return f"{self.fps!r}fps-{self.side}px-q{self.quality}-v{LOOKS}"

    def as_json(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return asdict(self)
