"""The draws of a mixture: their seed, shares and epochs, their shards, and restoring them."""

import json
from collections import Counter
from itertools import islice

import pytest

from ttscaling.train.packs.mixture import Draw, Mixture, Shard, Source

SOURCES = (
    Source(name="text", length=7, weight=1.0),
    Source(name="images", length=50, weight=3.0),
)


def first(n: int, *, seed: int = 1, shard: Shard | None = None) -> list[Draw]:
    return list(islice(Mixture(SOURCES, seed=seed, shard=shard or Shard()), n))


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


@pytest.mark.parametrize("after", [0, 1, 4095, 4096, 5000])
def test_a_restored_mixture_goes_on(after: int) -> None:
    shard = Shard(1, 2)
    mixture = Mixture(SOURCES, seed=3, shard=shard)
    list(islice(mixture, after))
    state = json.loads(json.dumps(mixture.state()))
    expected = list(islice(mixture, 100))
    again = Mixture(SOURCES, seed=3, shard=shard)
    again.restore(state)
    assert list(islice(again, 100)) == expected


def test_a_state_of_other_data_is_refused() -> None:
    state = Mixture(SOURCES, seed=3).state()
    with pytest.raises(ValueError, match="sources differ"):
        Mixture(SOURCES[:1], seed=3).restore(state)
    with pytest.raises(ValueError, match="seed, shard differ"):
        Mixture(SOURCES, seed=4, shard=Shard(0, 2)).restore(state)


def test_a_limit_counts_all_shards_together() -> None:
    shards = [list(Mixture(SOURCES, seed=1, shard=Shard(index, 3), limit=100)) for index in range(3)]
    assert [len(shard) for shard in shards] == [34, 33, 33]


def test_sources_without_records_or_weight_are_refused() -> None:
    with pytest.raises(ValueError, match="empty mixture"):
        Mixture((), seed=1)
    with pytest.raises(ValueError, match="weight: a, b"):
        Mixture((Source(name="a", length=0, weight=1), Source(name="b", length=1, weight=0)), seed=1)
    with pytest.raises(ValueError, match="shard 2 of 2"):
        Shard(2, 2)
