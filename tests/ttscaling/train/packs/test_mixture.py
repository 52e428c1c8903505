"""The draws of a mixture: their seed, shares and epochs, their shards, and restoring them."""

import json
from collections import Counter
from itertools import islice

import pytest

from ttscaling.train.packs.draw_order import DrawOrder, Source
from ttscaling.train.packs.mixture import Draw, Mixture, Shard

SOURCES = (
    Source(name="text", length=7, weight=1.0),
    Source(name="images", length=50, weight=3.0),
)


def first(n: int, *, seed: int = 1, shard: Shard | None = None) -> list[Draw]:
    return list(islice(Mixture(DrawOrder(SOURCES, seed=seed), shard=shard or Shard()), n))


def test_the_seed_decides_the_draws() -> None:
    assert first(200) == first(200)
    assert first(200) != first(200, seed=2)


def test_shares_follow_the_weights() -> None:
    counts = Counter(draw.source for draw in first(6000))
    assert counts[1] / counts[0] == pytest.approx(3, rel=0.1)


def test_every_record_comes_once_an_epoch_in_a_new_order() -> None:
    taken = [draw.record for draw in first(2000) if draw.source == 1]
    epochs = [taken[start : start + 50] for start in range(0, len(taken) - 50, 50)]
    assert len(epochs) > 10
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_shards_split_the_one_sequence(count: int) -> None:
    shards = [first(40, shard=Shard(index, count)) for index in range(count)]
    together = sorted((draw for shard in shards for draw in shard), key=lambda draw: draw.number)
    assert together == first(40 * count)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("after", [0, 1, 4095, 4096, 5000])
def test_a_restored_mixture_goes_on(after: int, exact: bool) -> None:
    shard = Shard(1, 2)
    mixture = Mixture(DrawOrder(SOURCES, seed=3, exact=exact), shard=shard)
    list(islice(mixture, after))
    state = json.loads(json.dumps(mixture.state()))
    expected = list(islice(mixture, 100))
    again = Mixture(DrawOrder(SOURCES, seed=3, exact=exact), shard=shard)
    again.restore(state)
    assert list(islice(again, 100)) == expected


def test_a_state_of_other_data_is_refused() -> None:
    state = Mixture(DrawOrder(SOURCES, seed=3)).state()
    with pytest.raises(ValueError, match="sources differ"):
        Mixture(DrawOrder(SOURCES[:1], seed=3)).restore(state)
    with pytest.raises(ValueError, match="seed, shard differ"):
        Mixture(DrawOrder(SOURCES, seed=4), shard=Shard(0, 2)).restore(state)


def test_a_limit_counts_all_shards_together() -> None:
    order = DrawOrder(SOURCES, seed=1)
    shards = [list(Mixture(order, shard=Shard(index, 3), limit=100)) for index in range(3)]
    assert [len(shard) for shard in shards] == [34, 33, 33]


def test_sources_without_records_or_weight_are_refused() -> None:
    with pytest.raises(ValueError, match="empty mixture"):
        DrawOrder((), seed=1)
    with pytest.raises(ValueError, match="weight: a, b"):
        DrawOrder((Source(name="a", length=0, weight=1), Source(name="b", length=1, weight=0)), seed=1)
    with pytest.raises(ValueError, match="shard 2 of 2"):
        Shard(2, 2)


def test_an_exact_pass_has_each_record_as_often_as_its_data_set_is_repeated() -> None:
    """A hundred data sets of 20 records are read once, one is read twice, and of one the half is read."""
    many = [Source(name=str(n), length=20, weight=20) for n in range(100)]
    order = DrawOrder(
        [*many, Source(name="twice", length=7, weight=14), Source(name="half", length=5, weight=5.4)],
        seed=1,
        exact=True,
    )
    assert order.one_pass == 2019
    draws = list(Mixture(order, limit=2 * order.one_pass))
    for number in range(2):
        own = draws[number * 2019 : (number + 1) * 2019]
        counts = Counter((draw.source, draw.record) for draw in own)
        assert len(counts) == 2012
        assert {count for (source, _), count in counts.items() if source != 100} == {1}
        assert {count for (source, _), count in counts.items() if source == 100} == {2}
    assert [draw.source for draw in draws[:2019]] != [draw.source for draw in draws[2019:]]
    shards = [list(Mixture(order, shard=Shard(index, 8), limit=2019)) for index in range(8)]
    assert sorted(draw.number for shard in shards for draw in shard) == list(range(2019))


def test_a_state_of_another_order_is_refused() -> None:
    state = Mixture(DrawOrder(SOURCES, seed=3)).state()
    with pytest.raises(ValueError, match="exact differ"):
        Mixture(DrawOrder(SOURCES, seed=3, exact=True)).restore(state)
