import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttscaling.selection.aggregation import aggregate
from ttscaling.types import Aggregation

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)
METHODS: tuple[Aggregation, ...] = get_args(Aggregation)


def test_each_method_on_one_example() -> None:
    scores = (0.9, 0.5, 0.8)
    values = {how: aggregate(scores, how) for how in METHODS}
    assert values == pytest.approx({"mean": 2.2 / 3, "min": 0.5, "last": 0.8, "product": 0.36, "max": 0.9})


@pytest.mark.parametrize("how", METHODS)
def test_no_scores_are_refused(how: Aggregation) -> None:
    with pytest.raises(ValueError, match="no step scores"):
        aggregate((), how)


@given(SCORES)
def test_order_of_the_methods(scores: list[float]) -> None:
    value = {how: aggregate(scores, how) for how in METHODS}
    slack = 1e-12  # fsum and prod round
    assert 0 <= value["product"] <= value["min"] + slack
    assert value["min"] - slack <= value["mean"] <= value["max"] + slack
    assert value["min"] <= value["last"] <= value["max"] <= 1


@given(st.floats(0, 1), st.sampled_from(METHODS))
def test_one_step_is_its_own_aggregate(score: float, how: Aggregation) -> None:
    assert math.isclose(aggregate([score], how), score)
