"""User messages hold files and URLs, and replies are read with fields that are unknown here."""

import base64
from pathlib import Path

import pytest
from PIL import Image

from clients.sdk.completions import Completion
from clients.sdk.messages import media_url, user_message
from tests.clients.chat_server import completion, scaling


def test_a_local_image_is_sent_as_its_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    Image.new("RGB", (4, 4), "red").save(path)
    message = user_message("Sum of row 2?", [str(path), "https://example.org/a.jpg"])
    local, remote, text = message["content"]
    head, _, payload = local["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(payload) == path.read_bytes()
    assert remote == {"type": "image_url", "image_url": {"url": "https://example.org/a.jpg"}}
    assert text == {"type": "text", "text": "Sum of row 2?"}


def test_videos_stand_between_images_and_text(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"moov")
    message = user_message("Who?", ["https://example.org/a.jpg"], [clip, "https://example.org/b.webm"])
    assert [part["type"] for part in message["content"]] == ["image_url", "video_url", "video_url", "text"]
    assert message["content"][1]["video_url"]["url"] == "data:video/mp4;base64,bW9vdg=="
    assert message["content"][2]["video_url"]["url"] == "https://example.org/b.webm"


def test_a_file_of_unknown_kind_is_left_to_the_server(tmp_path: Path) -> None:
    path = tmp_path / "sheet"
    path.write_bytes(b"\x89PNG")
    assert media_url(path) == "data:application/octet-stream;base64,iVBORw=="


def test_the_error_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.png"):
        user_message("q", [tmp_path / "nope.png"])


def test_a_reply_keeps_unknown_fields() -> None:
    reply = completion("7", test_time_scaling=scaling(("8", 0.2), ("7", 0.9), selected=1), novel={"a": 1})
    parsed = Completion.model_validate(reply)
    assert parsed.text == "7"
    assert parsed.test_time_scaling is not None
    assert parsed.test_time_scaling.candidates[1].score == 0.9
    assert parsed.model_dump()["novel"] == {"a": 1}


def test_a_plain_reply_has_no_scaling() -> None:
    assert Completion.model_validate(completion("7")).test_time_scaling is None
