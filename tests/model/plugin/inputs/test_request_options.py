"""A request's options get defaults, are limited, and are refused if they are wrong."""

from typing import Any

import pytest

from model.images.tiling import TilingConfig
from model.plugin.inputs.request_options import VisionOptions, parse_options

CHECKPOINT = TilingConfig(448, 1, 12, use_thumbnail=True)


def parse(engine: dict[str, Any] | None = None, **request: Any) -> VisionOptions:
    return parse_options(request, engine or {}, CHECKPOINT, default_delta=0.5)


def test_a_request_without_options_gets_those_of_the_checkpoint():
    assert parse() == VisionOptions(
        deltas=0.5,
        tiling=CHECKPOINT,
        max_tiles_total=None,
        frame_tiling=TilingConfig(448, 1, 1, use_thumbnail=True),
        timestamps=False,
        max_tokens=0,
    )


def test_the_engine_sets_defaults_and_the_request_overrides_them():
    engine = {"v2pe_delta": "auto", "max_dynamic_patch": 6}
    assert parse(engine).deltas == "auto"
    assert parse(engine).tiling.max_tiles == 6
    assert parse(engine, v2pe_delta=0.25, max_dynamic_patch=4).deltas == 0.25
    assert parse(engine, v2pe_delta=0.25, max_dynamic_patch=4).tiling.max_tiles == 4


def test_numbers_of_tiles_are_lowered_to_the_limit():
    assert parse(max_dynamic_patch=10**9).tiling.max_tiles == 12
    assert parse({"max_dynamic_patch": 24}, max_dynamic_patch=40).tiling.max_tiles == 24
    assert parse(min_dynamic_patch=40, max_dynamic_patch=40).tiling.min_tiles == 12


def test_fewer_tiles_than_the_checkpoints_least_are_possible():
    tiling = TilingConfig(448, 4, 12, use_thumbnail=True)
    assert parse_options({"max_dynamic_patch": 1}, {}, tiling, 1.0).tiling == TilingConfig(448, 1, 1, True)


def test_frames_have_one_tile_unless_more_are_requested():
    assert parse(video_max_dynamic_patch=4).frame_tiling.max_tiles == 4
    assert parse(video_max_dynamic_patch=40).frame_tiling.max_tiles == 12
    assert parse({"max_dynamic_patch": 6}, video_max_dynamic_patch=40).frame_tiling.max_tiles == 6
    engine = {"video_max_dynamic_patch": 2}
    assert parse(engine).frame_tiling.max_tiles == 2
    assert parse(engine, video_max_dynamic_patch=40).frame_tiling.max_tiles == 2
    assert parse(engine, video_max_dynamic_patch=1).frame_tiling.max_tiles == 1


def test_frames_don_t_inherit_the_least_tiles_of_images():
    tiling = TilingConfig(448, 4, 12, use_thumbnail=True)
    assert parse_options({}, {}, tiling, 1.0).frame_tiling == TilingConfig(448, 1, 1, True)


LARGE, SMALL = (448 * 12, 448), (448, 448)  # They have 12 tiles and 1 tile.


def test_a_budget_of_tiles_is_shared_once_it_is_exceeded():
    options = parse(max_dynamic_patch_total=24)
    assert options.image_tiling([LARGE] * 2) == CHECKPOINT
    assert options.image_tiling([LARGE] * 2 + [SMALL]).max_tiles == 8
    assert options.image_tiling([LARGE] * 13).max_tiles == 1
    assert options.image_tiling([SMALL] * 24) == CHECKPOINT
    assert options.image_tiling([]) == CHECKPOINT


def test_a_share_is_never_more_than_an_image_may_have():
    options = parse(max_dynamic_patch=4, max_dynamic_patch_total=10)
    assert options.image_tiling([LARGE] * 3).max_tiles == 3
    assert parse(min_dynamic_patch=6, max_dynamic_patch_total=10).image_tiling([LARGE] * 5) == TilingConfig(
        448, 2, 2, use_thumbnail=True
    )


def test_the_engines_budget_is_default_and_limit():
    engine = {"max_dynamic_patch_total": 24}
    assert parse(engine).max_tiles_total == 24
    assert parse(engine, max_dynamic_patch_total=100).max_tiles_total == 24
    assert parse(engine, max_dynamic_patch_total=6).max_tiles_total == 6
    assert parse(max_dynamic_patch_total=100).max_tiles_total == 100


def test_more_images_than_tiles_are_refused():
    with pytest.raises(ValueError, match=r"4 images .* max_dynamic_patch_total allows 3 tiles"):
        parse(max_dynamic_patch_total=3).image_tiling([SMALL] * 4)


def test_room_for_the_answer_is_passed_on():
    assert parse(v2pe_max_tokens=100).max_tokens == 100


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"v2pe_delta": 0}, "v2pe_delta must be"),
        ({"v2pe_delta": "x"}, "v2pe_delta must be"),
        ({"v2pe_delta": [1, 0]}, "v2pe_delta must be"),
        ({"v2pe_delta": [1, "auto"]}, "send it alone"),
        ({"max_dynamic_patch_total": 0}, "max_dynamic_patch_total must be a whole number of at least 1"),
        ({"video_max_dynamic_patch": 0}, "video_max_dynamic_patch must be a whole number of at least 1"),
        ({"video_timestamps": 1}, "video_timestamps must be true or false, not 1"),
        ({"max_dynamic_patch": 0}, "max_dynamic_patch must be a whole number of at least 1, not 0"),
        ({"max_dynamic_patch": 2.5}, "not 2.5"),
        ({"max_dynamic_patch": "6"}, "not '6'"),
        ({"min_dynamic_patch": True}, "not True"),
        ({"min_dynamic_patch": 5, "max_dynamic_patch": 3}, r"min_dynamic_patch \(5\) must not be above"),
        ({"v2pe_max_tokens": -1}, "at least 0"),
        ({"v2pe_delt": 1}, "unknown mm_processor_kwargs v2pe_delt: use v2pe_delta"),
    ],
)
def test_bad_options_say_what_to_change(request_: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        parse(**request_)
