"""How finely single images are seen, by OpenAI's `detail` or by a `max_dynamic_patch` of their own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.errors import ApiError

DETAILS = ("auto", "low", "high")


def image_tiles(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the most tiles of an image that the image parts ask for, or None where they ask for nothing.

    `detail` "low" is one tile; "high" and "auto" leave the number to the request and the checkpoint.
    VLMEvalKit and LMDeploy write `max_dynamic_patch` into `image_url`.

    Raises:
        ApiError: 400, if a value is out of range, or if images ask for different numbers: all images of a
            request are cut alike.
    """
    tiles_by_param = {param: tiles for param, tiles in _requested_tiles(messages) if tiles is not None}
    if len(set(tiles_by_param.values())) > 1:
        raise ApiError(
            "The images ask for different numbers of tiles, but all images of a request are cut alike. Send "
            "max_dynamic_patch once, beside messages.",
            param=next(iter(tiles_by_param)),
        )
    return next(iter(tiles_by_param.values()), None) or None


def _requested_tiles(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int | None]]:
    """Yield for each image part its field and the number of tiles that it asks for.

    That is None if it asks for nothing, and 0 if `detail` "high" asks for as many as the request allows.
    """
    for number, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            image = part.get("image_url") if isinstance(part, Mapping) else None
            if not isinstance(image, Mapping):
                continue
            param = f"messages[{number}].content[{index}].image_url"
            detail, tiles = image.get("detail"), image.get("max_dynamic_patch")
            if detail not in (None, *DETAILS):
                raise ApiError(
                    f"{param}.detail must be one of {', '.join(DETAILS)}.", param=f"{param}.detail"
                )
            if tiles is not None and (not isinstance(tiles, int) or isinstance(tiles, bool) or tiles < 1):
                raise ApiError(
                    f"{param}.max_dynamic_patch must be a whole number from 1.",
                    param=f"{param}.max_dynamic_patch",
                )
            yield param, {"low": 1, "high": 0}.get(detail or "") if tiles is None else tiles
