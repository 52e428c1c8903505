"""Packs stay within both limits, lose no item, and depend on the items only."""

from dataclasses import dataclass

import numpy as np
import pytest

from ttscaling.train.packs.packing import Packer
from ttscaling.train.settings.pack_limits import PackLimits


@dataclass(frozen=True)
class Item:
    num_tokens: int
    num_tiles: int = 0


LIMITS = PackLimits(max_tokens=100, max_tiles=8, max_open=4)


def random_items(n: int) -> list[Item]:
    rng = np.random.default_rng(0)
    return [Item(int(rng.integers(1, 101)), int(rng.integers(0, 9))) for _ in range(n)]


def packed(items: list[Item], limits: PackLimits = LIMITS) -> list[tuple[Item, ...]]:
    packer: Packer[Item] = Packer(limits)
    packs = [pack for item in items if (pack := packer.add(item))]
    while pack := packer.close():
        packs.append(pack)
    return packs


def test_packs_stay_within_both_limits_and_lose_nothing() -> None:
    items = random_items(500)
    packs = packed(items)
    assert sorted((i.num_tokens, i.num_tiles) for pack in packs for i in pack) == sorted(
        (i.num_tokens, i.num_tiles) for i in items
    )
    for pack in packs:
        assert sum(item.num_tokens for item in pack) <= 100
        assert sum(item.num_tiles for item in pack) <= 8


def test_an_item_joins_the_fullest_pack_that_it_fits_into() -> None:
    assert packed([Item(50), Item(70), Item(25)]) == [(Item(70), Item(25)), (Item(50),)]


def test_tiles_bound_a_pack_as_tokens_do() -> None:
    assert packed([Item(1, 5), Item(1, 5), Item(1, 3)]) == [(Item(1, 5), Item(1, 3)), (Item(1, 5),)]


def test_the_fullest_pack_makes_room() -> None:
    packer: Packer[Item] = Packer(PackLimits(max_tokens=100, max_tiles=8, max_open=2))
    assert packer.add(Item(60)) is None
    assert packer.add(Item(90)) is None
    assert packer.add(Item(70)) == (Item(90),)
    assert packer.open_packs() == ((Item(60),), (Item(70),))


def test_more_open_packs_fill_better() -> None:
    items = random_items(500)
    few = PackLimits(max_tokens=100, max_tiles=100, max_open=1)
    many = PackLimits(max_tokens=100, max_tiles=100, max_open=32)
    assert len(packed(items, many)) < 0.9 * len(packed(items, few))


def test_reopened_packs_go_on() -> None:
    items = random_items(100)
    packer: Packer[Item] = Packer(LIMITS)
    for item in items[:50]:
        packer.add(item)
    again: Packer[Item] = Packer(LIMITS)
    again.reopen(packer.open_packs())
    assert [packer.add(item) for item in items[50:]] == [again.add(item) for item in items[50:]]


@pytest.mark.parametrize(("item", "problem"), [(Item(101), "101 tokens"), (Item(1, 9), "9 tiles")])
def test_an_item_over_a_limit_is_refused(item: Item, problem: str) -> None:
    packer: Packer[Item] = Packer(LIMITS)
    with pytest.raises(ValueError, match=f"{problem} don't fit"):
        packer.add(item)


def test_a_limit_is_at_least_1() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PackLimits(max_tokens=0, max_tiles=1)
