"""Folders, patterns, single videos and manifests are told apart, and a wrong source is one clear line."""

from pathlib import Path

import pytest

from clients.video_jobs.items.source import SourceError, read_source


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for name in ("a/clip.mp4", "b/clip.mp4", "b/clip.srt", "b/notes.txt", ".part/clip.mp4", "c.MKV"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def test_a_folder_gives_ids_by_path_so_that_equal_names_stay_apart(videos: Path) -> None:
    source = read_source(str(videos), ["Who?"])
    assert [item.id for item in source.items] == ["a/clip.mp4", "b/clip.mp4", "c.MKV"]
    assert [item.subtitles for item in source.items] == [None, str(videos / "b/clip.srt"), None]
    assert source.kind == "folder"


def test_two_questions_make_two_items_of_a_video(videos: Path) -> None:
    source = read_source(str(videos / "a"), ["Who?", "What?"])
    assert [(item.id, item.question) for item in source.items] == [
        ("clip.mp4#1", "Who?"),
        ("clip.mp4#2", "What?"),
    ]


def test_a_pattern_gives_ids_below_its_fixed_folder(videos: Path) -> None:
    source = read_source(f"{videos}/**/*.mp4", ["Who?"])
    assert [item.id for item in source.items] == ["a/clip.mp4", "b/clip.mp4"]


def test_one_video(videos: Path) -> None:
    (item,) = read_source(str(videos / "c.MKV"), ["Who?"]).items
    assert (item.id, item.video) == ("c.MKV", str(videos / "c.MKV"))


def test_a_manifest_keeps_its_bad_lines_apart(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"video": "a.mp4"}\nbroken\n')
    source = read_source(str(tmp_path / "m.jsonl"), ["Who?"])
    assert (source.kind, len(source.items), [bad.id for bad in source.bad]) == ("manifest", 1, ["line 2"])


@pytest.mark.parametrize(
    ("name", "questions", "reason"),
    [
        ("nowhere", ["q"], "there is no"),
        ("videos/.part", ["q"], None),
        ("videos", [], "there is no question"),
        ("empty", ["q"], "there are no videos in"),
        ("*.nothing", ["q"], "there are no videos in"),
        ("empty.jsonl", ["q"], "there are no videos in"),
    ],
)
def test_a_wrong_source_says_what_to_change(
    videos: Path, name: str, questions: list[str], reason: str | None
) -> None:
    root = videos.parent
    (root / "empty").mkdir()
    (root / "empty.jsonl").touch()
    if reason is None:  # a hidden folder that is named is meant
        assert len(read_source(str(root / name), questions).items) == 1
        return
    with pytest.raises(SourceError, match=reason):
        read_source(str(root / name), questions)


def test_what_an_item_asks_decides_its_fingerprint(videos: Path) -> None:
    ours, same, other = (read_source(str(videos / "a"), [q]).items[0] for q in ("Who?", "Who?", "What?"))
    assert ours.fingerprint == same.fingerprint != other.fingerprint
