"""Several samples in one sequence, bounded by tokens and by tiles, so that language model and vision tower
both have an even load.

Source of the two bounds: OpenGVLab/InternVL `dataset_packed.py` (`max_packed_tokens`, `num_images_expected`).
Deviations: the fullest open pack that a sample fits into takes it, not the first; samples are never cut in
two, since a cut loses context and can separate an image from its question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ttscaling.train.settings.pack_limits import Packable, PackLimits

P = TypeVar("P", bound=Packable)


@dataclass(eq=False)  # by identity: items may hold arrays, whose == isn't a truth value
class _Open(Generic[P]):
    items: list[P] = field(default_factory=list)
    tokens: int = 0
    tiles: int = 0


class Packer(Generic[P]):
    """Best fit over a bounded number of open packs; what comes out depends only on what was put in."""

    def __init__(self, limits: PackLimits):
        self.limits = limits
        self._open: list[_Open[P]] = []

    def add(self, item: P) -> tuple[P, ...] | None:
        """Put an item into a pack; a pack that had to be closed for it is returned.

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
            best = _Open()
            self._open.append(best)
        best.items.append(item)
        best.tokens += item.num_tokens
        best.tiles += item.num_tiles
        return self.close() if len(self._open) > self.limits.max_open else None

    def close(self) -> tuple[P, ...] | None:
        """Close the fullest open pack and return it; None if there is none."""
        if not self._open:
            return None
        fullest = max(self._open, key=self._fill)
        self._open.remove(fullest)
        return tuple(fullest.items)

    def open_packs(self) -> tuple[tuple[P, ...], ...]:
        """What is waiting, pack by pack."""
        return tuple(tuple(pack.items) for pack in self._open)

    def reopen(self, packs: Sequence[tuple[P, ...]]) -> None:
        """Start from packs that `open_packs` gave."""
        self._open = [
            _Open(list(items), sum(i.num_tokens for i in items), sum(i.num_tiles for i in items))
            for items in packs
        ]

    def _fits(self, pack: _Open[P], item: P) -> bool:
        return (
            pack.tokens + item.num_tokens <= self.limits.max_tokens
            and pack.tiles + item.num_tiles <= self.limits.max_tiles
        )

    def _fill(self, pack: _Open[P]) -> float:
        return max(pack.tokens / self.limits.max_tokens, pack.tiles / self.limits.max_tiles)
