"""Manifests become items, and a bad line costs itself only."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.items.item import BadItem, Item
from clients.video_jobs.items.manifest import manifest_items


def read(path: Path, *lines: dict[str, Any] | str, questions: tuple[str, ...] = ()) -> list[Item | BadItem]:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return list(manifest_items(path, questions))


def test_every_field_is_read(tmp_path: Path) -> None:
    line = {
        "id": "a",
        "video": "clips/a.mp4",
        "question": "Who?",
        "schema": {"type": "object"},
        "start": 5,
        "end": 10.5,
        "subtitles": "clips/a.srt",
        "parameters": {"max_tokens": 8},
    }
    (item,) = read(tmp_path / "m.jsonl", line)
    assert item == Item(
        id="a",
        video=str(tmp_path / "clips/a.mp4"),
        question="Who?",
        schema={"type": "object"},
        start=5.0,
        end=10.5,
        subtitles=str(tmp_path / "clips/a.srt"),
        parameters={"max_tokens": 8},
    )


def test_a_table_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "\ufeffid,video,question,schema,start,parameters\r\n"
        'a,a.mp4,"Who, and\nwhen?","{""type"": ""object""}",5,"{""max_tokens"": 8}"\r\n'
        "b,s3://bucket/b.mp4,What?,,,\r\n"
    )
    first, second = manifest_items(path, ())
    assert first == Item(
        "a",
        str(tmp_path / "a.mp4"),
        "Who, and\nwhen?",
        {"type": "object"},
        5.0,
        parameters={"max_tokens": 8},
    )
    assert second == Item("b", "s3://bucket/b.mp4", "What?")


def test_several_questions_have_ids_of_their_own(tmp_path: Path) -> None:
    items = read(tmp_path / "m.jsonl", {"id": "a", "video": "a.mp4", "questions": ["Who?", "What?"]})
    assert [(item.id, item.question) for item in items if isinstance(item, Item)] == [
        ("a#1", "Who?"),
        ("a#2", "What?"),
    ]


def test_without_an_id_the_rest_of_the_line_is_the_id(tmp_path: Path) -> None:
    lines = [{"video": "a.mp4", "question": question} for question in ("Who?", "What?")]
    ids = [item.id for item in read(tmp_path / "m.jsonl", *lines)]
    assert len(set(ids)) == 2
    assert all(item_id.startswith("a.mp4#") for item_id in ids)
    assert ids == [item.id for item in read(tmp_path / "m.jsonl", *reversed(lines))][::-1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"video": "a.mp4", ', "it is no JSON"),
        ("[]", "it is no JSON object"),
        ({"question": "Who?"}, "video: Field required"),
        ({"video": "a.mp4"}, "it has no question"),
        ({"video": "a.mp4", "question": "Who?", "qestion": 1}, "qestion: Extra inputs are not permitted"),
        ({"video": "a.mp4", "question": "q", "questions": ["q"]}, "both question and questions"),
        ({"video": "a.mp4", "question": "q", "start": 9, "end": 3}, "end 3 is not after start 9"),
        ({"video": "a.mp4", "question": "q", "start": -1}, "start: Input should be greater"),
        ({"video": "a.mp4", "question": "q", "schema": "yes"}, "schema: Input should be a valid dictionary"),
        ("[" * 100_000, "recursion"),
        ({"id": "good", "video": "b.mp4", "question": "q"}, "has the id 'good' of line 1"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(
    tmp_path: Path, line: dict[str, Any] | str, reason: str
) -> None:
    good = {"id": "good", "video": "a.mp4", "question": "Who?"}
    first, bad, last = read(tmp_path / "m.jsonl", good, line, good | {"id": "last"})
    assert isinstance(first, Item)
    assert isinstance(last, Item)
    assert isinstance(bad, BadItem)
    assert bad.id == "line 2"
    assert bad.message.startswith("line 2 of m.jsonl")
    assert reason in bad.message
    assert "\n" not in bad.message


def test_a_broken_row_of_a_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,video,question\na,a.mp4,q,more\nb,b.mp4,q\n" + f"c,{'x' * 200_000},q\nd,d.mp4,q\n")
    more, good, long, last = manifest_items(path, ())
    assert isinstance(more, BadItem)
    assert "more cells than the header" in more.message
    assert isinstance(long, BadItem)
    assert "field larger" in long.message
    assert [good.id, last.id] == ["b", "d"]


@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".csv"]))
def test_no_bytes_at_all_end_the_reading(tmp_path_factory: Any, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("manifest") / f"m{suffix}"
    path.write_bytes(content)
    for entry in manifest_items(path, ("Who?",)):
        assert entry.id
