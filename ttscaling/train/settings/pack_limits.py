"""The limits of a pack in tokens and tiles."""

from dataclasses import dataclass
from typing import Protocol


class Packable(Protocol):
    """An item that can be packed, because it knows its numbers of tokens and tiles."""

    @property
    def num_tokens(self) -> int: ...
    @property
    def num_tiles(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class PackLimits:
    """The most tokens and tiles of a pack, and the most packs that are open at the same time.

    Raises ValueError for a limit below 1.
    """

    max_tokens: int
    max_tiles: int
    max_open: int = 32

    def __post_init__(self) -> None:
        if min(self.max_tokens, self.max_tiles, self.max_open) < 1:
            raise ValueError(f"every limit of a pack must be at least 1: {self}")

    def excess(self, item: Packable) -> str | None:
        """Return why an item fits into no pack and what to change, or None if it fits."""
        if item.num_tokens > self.max_tokens:
            return (
                f"{item.num_tokens} tokens don't fit into a pack of {self.max_tokens}: allow longer packs or "
                "fewer tiles per image, or shorten the text"
            )
        if item.num_tiles > self.max_tiles:
            return (
                f"{item.num_tiles} tiles don't fit into a pack of {self.max_tiles}: allow more tiles in a "
                "pack or fewer tiles per image"
            )
        return None
