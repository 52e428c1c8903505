"""Combine several samples in packs of limited tokens and tiles.

Both limits are needed, so that the language model and the vision tower each get an even load. Their source is
OpenGVLab/InternVL `dataset_packed.py` (`max_packed_tokens`, `num_images_expected`). There are two deviations.
A sample goes into the fullest open pack that it fits into, not into the first one. A sample is never cut in
two, because a cut loses context and can separate an image from its question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ttscaling.train.settings.pack_limits import Packable, PackLimits

P = TypeVar("P", bound=Packable)


@dataclass(eq=False)  # compared by identity, because == of arrays has no truth value
class _OpenPack(Generic[P]):
    items: list[P] = field(default_factory=list)
    tokens: int = 0
    tiles: int = 0


class Packer(Generic[P]):
    """Packs items by best fit with a limited number of open packs.

    The packs depend only on the items and their order.
    """

    def __init__(self, limits: PackLimits):
        self.limits = limits
        self._open: list[_OpenPack[P]] = []

    def add(self, item: P) -> tuple[P, ...] | None:
        """Put an item into a pack, and return the pack that had to be closed for it, or None.

        Raises:
            ValueError: the item alone is over a limit.
        """
        excess = self.limits.excess(item)
        if excess:
            raise ValueError(excess)
        fitting = [pack for pack in self._open if self._fits(pack, item)]
        if fitting:
            best = max(fitting, key=lambda pack: pack.tokens)
        else:
            best = _OpenPack()
            self._open.append(best)
        best.items.append(item)
        best.tokens += item.num_tokens
        best.tiles += item.num_tiles
        return self.close() if len(self._open) > self.limits.max_open else None

    def close(self) -> tuple[P, ...] | None:
        """Close the fullest open pack and return it, or None if no pack is open."""
        if not self._open:
            return None
        fullest = max(self._open, key=self._fill)
        self._open.remove(fullest)
        return tuple(fullest.items)

    def open_packs(self) -> tuple[tuple[P, ...], ...]:
        """Return the items of each open pack."""
        return tuple(tuple(pack.items) for pack in self._open)

    def reopen(self, packs: Sequence[tuple[P, ...]]) -> None:
        """Replace the open packs by packs that `open_packs` returned."""
        self._open = [
            _OpenPack(list(items), sum(i.num_tokens for i in items), sum(i.num_tiles for i in items))
            for items in packs
        ]

    def _fits(self, pack: _OpenPack[P], item: P) -> bool:
        return (
            pack.tokens + item.num_tokens <= self.limits.max_tokens
            and pack.tiles + item.num_tiles <= self.limits.max_tiles
        )

    def _fill(self, pack: _OpenPack[P]) -> float:
        return max(pack.tokens / self.limits.max_tokens, pack.tiles / self.limits.max_tiles)
