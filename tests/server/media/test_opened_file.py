"""What a file is shows in its first bytes, whatever its client called it."""

from pathlib import Path

import pytest

from server.media.opened_file import HEAD, OpenedFile, medium_of
from tests.server.media.test_loader import encoded
from tests.videos import CLIPS, Clip


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "MPO"])
def test_images(form: str):
    assert medium_of(encoded(form)[:HEAD]) == "image"


@pytest.mark.parametrize("name", CLIPS)
def test_videos(clip: Clip, name: str):
    path = clip(name)
    assert OpenedFile(id="file-x", path=path, size=path.stat().st_size).medium() == "video"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GIF",
        b'{"custom_id": 1}\n',
        b"%PDF-1.7",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"ID3",
        b"#EXTM3U\nhttp://127.0.0.1/x.ts\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        encoded("TIFF")[:HEAD],
        b"G" + b"x" * 399,
    ],
)
def test_all_else(head: bytes, tmp_path: Path):
    (tmp_path / "file").write_bytes(head)
    assert OpenedFile(id="file-x", path=tmp_path / "file", size=len(head)).medium() is None
