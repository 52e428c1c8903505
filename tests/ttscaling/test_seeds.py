from itertools import product

import pytest

from ttscaling.seeds import candidate_seed


def test_candidates_of_different_seeds_share_no_seed() -> None:
    """A search of 64 continuations and 32 steps has 2,048 of them; close seeds are usual."""
    seeds = [*range(200), -1, -2, 2**53 - 1, 2**53, 2**63 - 1, -(2**63)]
    derived = {candidate_seed(seed, index) for seed, index in product(seeds, range(1, 512))}
    assert len(derived) == len(seeds) * 511
    assert derived.isdisjoint(seeds)
    assert all(0 <= seed < 2**53 for seed in derived)


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_the_first_candidate_keeps_the_seed(seed: int) -> None:
    assert candidate_seed(seed, 0) == seed


def test_a_negative_seed_repeats_too() -> None:
    """vLLM takes the seed -1 for none."""
    assert 0 <= candidate_seed(-1, 0) == candidate_seed(-1, 0) != candidate_seed(-2, 0)


def test_the_seeds_stay_what_they_are() -> None:
    """Results that name a seed can be repeated with later versions. The values are blake2b's of "7 1"."""
    assert candidate_seed(7, 1) == 2064819842468408
