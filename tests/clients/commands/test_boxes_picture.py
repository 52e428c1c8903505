"""`internvl3 ask --boxes` writes a copy of the picture with the boxes of the answer."""

from pathlib import Path

import pytest
from PIL import Image

from clients.commands.boxes_picture import draw_boxes
from clients.sdk.boxes import Box
from tests.clients.chat_server import Reply, chat_server, completion
from tests.clients.test_cli import run

ANSWER = "<ref>Save</ref><box>[[250, 500, 750, 1000]]</box>"
WHITE = (255, 255, 255)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "screen.png"
    Image.new("RGB", (401, 201), "white").save(path)
    return path


def ask(answer: str, *options: str) -> int | str | None:
    with chat_server(lambda body: Reply(completion(answer))) as url:
        return run("ask", "Where?", "--no-stream", "--base-url", url, *options)


def test_the_boxes_are_drawn_and_listed(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "boxes.png"
    assert ask(ANSWER, "--image", str(picture), "--boxes", str(output)) == 0
    shown = capsys.readouterr().out
    assert "box 1: Save [250, 500, 750, 1000]" in shown and f"drawn on {output}" in shown
    drawn = Image.open(output)
    assert drawn.size == (401, 201)
    for edge in ((100, 150), (300, 150), (200, 100), (200, 200)):  # left, right, top, bottom
        assert drawn.getpixel(edge) != WHITE, edge
    for outside in ((50, 150), (350, 150), (200, 50), (250, 180)):
        assert drawn.getpixel(outside) == WHITE, outside
    assert Image.open(picture).getcolors() == [(401 * 201, WHITE)]  # the picture itself is untouched


def test_a_picture_on_its_side_is_drawn_upright(tmp_path: Path) -> None:
    """The server turns pictures by their EXIF orientation, so boxes are those of the upright picture."""
    path, output = tmp_path / "phone.jpg", tmp_path / "boxes.png"
    exif = Image.Exif()
    exif[274] = 6  # the orientation: turn it by 90 degrees
    Image.new("RGB", (400, 200), "white").save(path, exif=exif)
    draw_boxes(path, [Box("数", 0, 0, 500, 500)], output)
    assert Image.open(output).size == (200, 400)


def test_transparency_and_palettes_are_drawn_on_too(tmp_path: Path) -> None:
    for mode in ("RGBA", "P", "LA", "I;16"):
        path, output = tmp_path / f"{mode[0]}.png", tmp_path / "boxes.jpg"
        Image.new(mode, (50, 40)).save(path)
        draw_boxes(path, [Box("a", 0, 0, 1000, 1000), Box("", 5, 5, 5, 5)], output)
        assert Image.open(output).mode == "RGB"


def test_an_answer_without_boxes_writes_no_picture(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "boxes.png"
    assert ask("7", "--image", str(picture), "--boxes", str(output)) == 0
    assert "holds no <box>" in capsys.readouterr().err
    assert not output.exists()


def test_what_cannot_be_drawn_is_known_before_the_question(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    one, output = ["--image", str(picture)], str(tmp_path / "boxes.png")
    wrong = [
        (["--boxes", output], "there are 0"),
        ([*one, *one, "--boxes", output], "there are 2"),
        (["--image", "https://example.org/a.png", "--boxes", output], "a local file"),
        (["--image", str(text), "--boxes", output], "no picture"),
        ([*one, "--boxes", str(picture)], "write over"),
        ([*one, "--boxes", str(tmp_path / "boxes.txt")], "ends in .png"),
        ([*one, "--boxes", str(tmp_path / "none" / "boxes.png")], "doesn't exist"),
    ]
    for options, problem in wrong:
        assert run("ask", "q", "--base-url", "http://127.0.0.1:1", *options) == 2
        assert problem in " ".join(capsys.readouterr().err.split())
