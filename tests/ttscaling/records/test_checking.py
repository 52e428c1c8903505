"""`internvl3 train check` names everything that would stop a run or be skipped."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.ttscaling.train.data.material import data_set
from ttscaling.train.cli import app

CHAT: dict[str, Any] = {
    "conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cat."}]
}


def written(folder: Path, rows: list[dict[str, Any]], **entry: Any) -> Path:
    data_set(folder, name="cats").annotation.write_text("".join(json.dumps(row) + "\n" for row in rows))
    meta = folder / "meta.json"
    meta.write_text(json.dumps({"cats": {"annotation": "cats.jsonl", **entry}}))
    return meta


def check(meta: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", str(meta), "--base", str(meta.parent), *arguments])
    return result.exit_code, result.output


def test_sound_data(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [CHAT, {**CHAT, "image": ["wide.png", "square.png"]}]
    code, output = check(written(tmp_path, rows, length=2))
    assert (code, output.strip()) == (0, "cats: 2 good records with 2 images and videos")


def test_every_problem_is_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [CHAT, {**CHAT, "image": "gone.png"}, {**CHAT, "video": "../clip.mp4"}, {}]
    code, output = check(written(tmp_path, rows, length=9))
    assert code == 1
    for problem in (
        "cats: 1 good records",
        "meta.json says 9 records, the file has 4",
        "3 of 4 records were bad",
        "cats.jsonl:2: there is no file 'gone.png'",
        "cats.jsonl:3: '../clip.mp4' leads out of the root",
        "cats.jsonl:4: 'conversations' is missing",
    ):
        assert problem in output


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("pairs", {"question": "1+1?", "chosen": "2", "rejected": "3"}),
        ("judged", {"question": "1+1?", "steps_with_score": [{"step": "2", "score": 1.0}]}),
        ("marked", {"question": "1+1?", "response": {"steps": ["2"], "process_correctness": [1]}}),
    ],
)
def test_the_other_formats(tmp_path: Path, form: str, row: dict[str, Any]) -> None:
    meta = written(tmp_path, [row])
    assert check(meta, "--format", form)[0] == 0
    assert check(meta)[0] == 1


def test_a_file_that_is_no_meta_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("[]")
    code, output = check(tmp_path / "meta.json")
    assert code == 1
    assert "names no data set" in output
