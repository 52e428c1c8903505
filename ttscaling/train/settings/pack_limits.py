"""TODO: what this file is about."""

from dataclasses import dataclass
from typing import Protocol


class Packable(Protocol):
    """What is packed: it knows how much room it takes."""

    @property
    def num_tokens(self) -> int: ...
    @property
    def num_tiles(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class PackLimits:
    """The most tokens and tiles of a pack, and how many packs are kept open at a time."""

    max_tokens: int
    max_tiles: int
    max_open: int = 32

    def __post_init__(self) -> None:
        if min(self.max_tokens, self.max_tiles, self.max_open) < 1:
            raise ValueError(f"every limit of a pack must be at least 1: {self}")

    def excess(self, item: Packable) -> str | None:
        """Why an item fits into no pack, and what to change; None if it does."""
        if item.num_tokens > self.max_tokens:
            return (
                f"{item.num_tokens} tokens don't fit into a pack of {self.max_tokens}: allow longer packs or "
                "fewer tiles per image, or shorten the text"
            )
        if item.num_tiles > self.max_tiles:
            return (
                f"{item.num_tiles} tiles don't fit into a pack of {self.max_tiles}: allow more tiles a pack "
                "or fewer per image"
            )
        return None
