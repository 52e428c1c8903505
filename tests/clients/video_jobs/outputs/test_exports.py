"""Results become files of other programs."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from clients.video_jobs.outputs.exports import EXPORTS, ExportError, file_name
from clients.video_jobs.questions import Event
from tests.clients.video_jobs.outputs.folders import line_of, write_job

EVENTS = (Event(4.0, 6.0, "a cat"), Event(1.0, 2.5, "a dog", segment=0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_job(tmp_path, [line_of("a/clip.mp4", events=EVENTS), line_of("b/clip.mp4")])


def test_each_video_has_its_chapters_and_subtitles(folder: Path) -> None:
    EXPORTS["chapters"](folder)
    EXPORTS["srt"](folder)
    assert sorted(path.name for path in (folder / "chapters").iterdir()) == [
        "a%2Fclip.mp4.vtt",
        "b%2Fclip.mp4.vtt",
    ]
    chapters = (folder / "chapters" / "a%2Fclip.mp4.vtt").read_text()
    assert chapters.index("a dog") < chapters.index("00:00:04.000 --> 00:00:06.000\na cat")
    assert (folder / "srt" / "a%2Fclip.mp4.srt").read_text().startswith("1\n00:00:01,000")


def test_activitynet(folder: Path) -> None:
    EXPORTS["activitynet"](folder)
    assert json.loads((folder / "activitynet.json").read_text()) == {
        "a/clip.mp4": {
            "duration": 10.0,
            "timestamps": [[1.0, 2.5], [4.0, 6.0]],
            "sentences": ["a dog", "a cat"],
        },
        "b/clip.mp4": {"duration": 10.0, "timestamps": [], "sentences": []},
    }


def test_a_table_of_events(folder: Path) -> None:
    if find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed: it is an optional extra")
    from pyarrow import parquet

    EXPORTS["parquet"](folder)
    rows = parquet.read_table(folder / "events.parquet").to_pylist()
    assert [(row["custom_id"], row["start"], row["end"], row["text"]) for row in rows] == [
        ("a/clip.mp4", 1.0, 2.5, "a dog"),
        ("a/clip.mp4", 4.0, 6.0, "a cat"),
    ]


def test_without_pyarrow_the_error_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # how Python marks what can't be imported
    with pytest.raises(ExportError, match="pip install pyarrow"):
        EXPORTS["parquet"](folder)


@pytest.mark.parametrize("item", ["../../etc/passwd", "a\0b", "x" * 500, "..", "ä" * 100, "\udcff"])
def test_no_id_leaves_the_folder(item: str) -> None:
    name = file_name(item, ".vtt")
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode()) <= 255
    assert name.endswith(".vtt")
    assert name != "...vtt" or item == ".."


def test_two_ids_have_two_names() -> None:
    names = {file_name(item, ".vtt") for item in ("a/b", "a%2Fb", "a b", "a_b", "a" * 300, "a" * 301)}
    assert len(names) == 6
