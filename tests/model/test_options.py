"""A request's options: defaults, limits and refusals."""

from typing import Any

import pytest

from model.options import ImageOptions, parse_options
from model.tiling import TilingConfig

CHECKPOINT = TilingConfig(448, 1, 12, use_thumbnail=True)


def parse(engine: dict[str, Any] | None = None, **request: Any) -> ImageOptions:
    return parse_options(request, engine or {}, CHECKPOINT, default_delta=0.5)


def test_a_bare_request_gets_the_checkpoints_own():
    assert parse() == ImageOptions(delta=0.5, tiling=CHECKPOINT, max_tokens=0)


def test_the_engine_sets_defaults_and_the_request_overrides_them():
    engine = {"v2pe_delta": "auto", "max_dynamic_patch": 6}
    assert parse(engine).delta == "auto"
    assert parse(engine).tiling.max_tiles == 6
    assert parse(engine, v2pe_delta=0.25, max_dynamic_patch=4).delta == 0.25
    assert parse(engine, v2pe_delta=0.25, max_dynamic_patch=4).tiling.max_tiles == 4


def test_tiles_are_cut_down_to_the_limit():
    assert parse(max_dynamic_patch=10**9).tiling.max_tiles == 12
    assert parse({"max_dynamic_patch": 24}, max_dynamic_patch=40).tiling.max_tiles == 24
    assert parse(min_dynamic_patch=40, max_dynamic_patch=40).tiling.min_tiles == 12


def test_fewer_tiles_than_the_checkpoints_least_are_possible():
    tiling = TilingConfig(448, 4, 12, use_thumbnail=True)
    assert parse_options({"max_dynamic_patch": 1}, {}, tiling, 1.0).tiling == TilingConfig(448, 1, 1, True)


def test_room_for_the_answer_is_passed_on():
    assert parse(v2pe_max_tokens=100).max_tokens == 100


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"v2pe_delta": 0}, "v2pe_delta must be"),
        ({"v2pe_delta": "x"}, "v2pe_delta must be"),
        ({"max_dynamic_patch": 0}, "max_dynamic_patch must be a whole number of at least 1, not 0"),
        ({"max_dynamic_patch": 2.5}, "not 2.5"),
        ({"max_dynamic_patch": "6"}, "not '6'"),
        ({"min_dynamic_patch": True}, "not True"),
        ({"min_dynamic_patch": 5, "max_dynamic_patch": 3}, r"min_dynamic_patch \(5\) must not be above"),
        ({"v2pe_max_tokens": -1}, "at least 0"),
        ({"v2pe_delt": 1}, "unknown mm_processor_kwargs v2pe_delt; known are v2pe_delta"),
    ],
)
def test_bad_options_say_what_to_change(request_: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        parse(**request_)
