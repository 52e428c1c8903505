"""The form in which media go to the server of a critic, and back into images and tiles."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.media_in_text import INLINE
from model.video.tiles import Video
from server.errors import ApiError
from server.media.transfer import TILES, outgoing_media, outgoing_messages, read_tiles, stored_names
from server.request_media import LoadedImage
from tests.server.media.test_loader import encoded

PHOTO = encoded("PNG", (800, 800))
VIDEO = Video(
    tiles=np.arange(3 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 2, 4, 4, 3),
    times_F=np.array([0.0, 0.5, 1.25]),
    width=64,
    height=48,
    duration=1.5,
    total_frames=30,
    backend="pyav",
    missing=1,
)
MEDIA: dict[str, LoadedImage | Video] = {
    "internvl3:i": LoadedImage(Image.new("RGB", (800, 800)), PHOTO, "image/png"),
    "internvl3:v": VIDEO,
}


def messages(**of_image: Any) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "internvl3:i"}, "uuid": "of image", **of_image},
                {"type": "video_url", "video_url": {"url": "internvl3:v"}, "uuid": "v", INLINE: False},
                {"type": "text", "text": "?"},
            ],
        },
    ]


def test_an_image_goes_as_its_file_and_its_id_is_its_sha256():
    media = outgoing_media(messages(), MEDIA)
    sent = b"".join(media["of image"].pieces())
    assert sent == PHOTO and media["of image"].media_type == "image/png"
    assert len(sent) > 2**20, "several pieces"
    assert (
        media["of image"].size == len(sent) and media["of image"].digest() == hashlib.sha256(sent).hexdigest()
    )


def test_a_video_comes_back_as_it_was():
    medium = outgoing_media(messages(), MEDIA)["v"]
    sent = b"".join(medium.pieces())
    assert medium.media_type == TILES and medium.size == len(sent)
    back = read_tiles(bytearray(sent), param="body")
    assert np.array_equal(back.tiles, VIDEO.tiles) and back.tiles.dtype == np.uint8
    assert np.array_equal(back.times_F, VIDEO.times_F)
    others = [{**asdict(video), "tiles": None, "times_F": None} for video in (back, VIDEO)]
    assert others[0] == others[1]


def test_messages_name_media_by_their_ids_and_keep_where_they_stand():
    chat = outgoing_messages(messages(**{INLINE: True}), {"of image": "a" * 64, "v": "b" * 64})
    assert chat[0] == messages()[0]
    image, video, text = chat[1]["content"]
    assert image == {"type": "image_url", "image_url": {"url": "stored:" + "a" * 64}, INLINE: True}
    assert video == {"type": "video_url", "video_url": {"url": "stored:" + "b" * 64}, INLINE: False}
    assert text == {"type": "text", "text": "?"} and stored_names(chat) == ["a" * 64, "b" * 64]


@pytest.mark.parametrize(
    "chat",
    [
        [{"content": None}, {}, {"content": "stored:x"}, {"content": 5}],
        [{"content": [None, "stored:x", {}, {"type": []}, {"type": "image_url"}]}],
        [{"content": [{"type": "image_url", "image_url": "stored:x"}, {"type": "text", "text": {"url": 1}}]}],
    ],
)
def test_messages_of_any_form_name_nothing(chat: list[dict[str, Any]]):
    assert stored_names(chat) == []


def head(**changed: Any) -> bytes:
    medium = outgoing_media(messages(), MEDIA)["v"]
    fields = json.loads(next(medium.pieces()))
    return json.dumps({**fields, **changed}).encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"x" * 100,
        b"{" * 2_000_000,
        head(),
        head() + VIDEO.tiles.tobytes()[:-1],
        head() + VIDEO.tiles.tobytes() + b"x",
        head(frames=2) + VIDEO.tiles.tobytes(),
        head(frames=2**31 - 1, tiles_per_frame=2**31 - 1) + VIDEO.tiles.tobytes(),
        head(times=[0.0, 1.0]) + VIDEO.tiles.tobytes(),
        head(times=[0.0, 1.0, -1.0]) + VIDEO.tiles.tobytes(),
        head(width=0) + VIDEO.tiles.tobytes(),
        head(further=1) + VIDEO.tiles.tobytes(),
        head(backend="x" * 100) + VIDEO.tiles.tobytes(),
    ],
    ids=range(14),
)
def test_other_bytes_are_no_tiles(data: bytes):
    with pytest.raises(ApiError) as refused:
        read_tiles(bytearray(data), param="body")
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_video", "body")
