"""`detail` and `max_dynamic_patch` of single images are honoured or refused, never ignored."""

from typing import Any

import pytest

from server.errors import ApiError
from server.protocol.chat_call import parse_call
from tests.server.apps import settings

PIXEL = "data:image/png;base64,AAAA"


def tiles(*images: dict[str, Any], **fields: Any) -> Any:
    """The number of tiles that reaches the processor for these fields of `image_url`."""
    parts = [{"type": "image_url", "image_url": {"url": PIXEL, **image}} for image in images]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": "What?"}]}]
    vision = parse_call({"messages": messages, **fields}, settings()).vision
    return vision.get("max_dynamic_patch")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, None),
        ({"detail": "auto"}, None),
        ({"detail": "high"}, None),
        ({"detail": "low"}, 1),
        ({"max_dynamic_patch": 6}, 6),
        ({"max_dynamic_patch": 18, "detail": "high"}, 18),
    ],
)
def test_what_an_image_asks_for(image: dict[str, Any], expected: int | None):
    assert tiles(image) == tiles(image, image) == expected


def test_an_image_that_asks_for_nothing_differs_from_none():
    assert tiles({"max_dynamic_patch": 3}, {}, {"detail": "auto"}) == 3


def test_beside_a_field_of_the_request():
    assert tiles({"max_dynamic_patch": 6}, max_dynamic_patch=6) == 6
    assert tiles({"detail": "high"}, max_dynamic_patch=4) == 4
    with pytest.raises(ApiError, match="is 4, but the images ask for 6"):
        tiles({"max_dynamic_patch": 6}, max_dynamic_patch=4)


@pytest.mark.parametrize(
    "others",
    [
        ({"detail": "low"}, {"detail": "high"}),
        ({"max_dynamic_patch": 6}, {"detail": "high"}),
        ({"max_dynamic_patch": 6}, {"max_dynamic_patch": 7}),
    ],
)
def test_images_that_differ_are_refused(others: tuple[dict[str, Any], ...]):
    with pytest.raises(ApiError, match="all images of a request are cut alike") as refused:
        tiles(*others)
    assert refused.value.param == "messages[0].content[0].image_url"


@pytest.mark.parametrize(
    "image",
    [{"detail": "medium"}, {"max_dynamic_patch": 0}, {"max_dynamic_patch": "x"}, {"max_dynamic_patch": True}],
)
def test_bad_values_are_refused_by_their_field(image: dict[str, Any]):
    with pytest.raises(ApiError) as refused:
        tiles({}, image)
    assert refused.value.param == f"messages[0].content[1].image_url.{next(iter(image))}"
