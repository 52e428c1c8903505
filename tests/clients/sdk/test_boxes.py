"""Boxes are read from answers as InternVL writes them, and from nothing else."""

import pytest

from clients.sdk.boxes import Box, boxes_in


def test_each_box_has_the_label_before_it() -> None:
    text = "The <ref>Save\n button</ref><box>[[10, 20, 30, 40], [50, 60, 70, 80]]</box> and <ref>x</ref>"
    text += "<box>[[0, 0, 1000, 1000]]</box>"
    assert boxes_in(text) == (
        Box("Save button", 10, 20, 30, 40),
        Box("Save button", 50, 60, 70, 80),
        Box("x", 0, 0, 1000, 1000),
    )


def test_a_box_needs_no_label_and_may_have_fractions() -> None:
    assert boxes_in("<box>[1.5,2,3,4]</box>") == (Box("", 1.5, 2, 3, 4),)


def test_edges_are_put_in_order_and_within_the_image() -> None:
    assert boxes_in("<box>[[900, 1200, -5, 40]]</box>") == (Box("", 0, 40, 900, 1000),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[1, 2, 3, 4]]",
        "<box>[[1, 2, 3]]</box>",
        "<box>[[a, b, c, d]]</box>",
        "<box>[[1, 2, 3, 4]]",
        "<box>",
    ],
)
def test_other_text_holds_no_box(text: str) -> None:
    assert boxes_in(text) == ()


def test_a_long_answer_of_open_tags_is_read_quickly_enough_to_end() -> None:
    assert boxes_in("<box>" * 3000 + "[" * 3000) == ()


def test_pixels_are_those_of_the_image() -> None:
    assert Box("", 250, 500, 1000, 999).pixels(400, 200) == (100, 100, 400, 200)
