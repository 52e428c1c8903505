"""`internvl3 eval` against the real server. The weights are random, so only the method is tested."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from tests.server.running import RunningServer
from tests.server.test_end_to_end import PHOTO, answer

pytestmark = pytest.mark.engine
TOKENS = 12


@pytest.fixture
def photo(tmp_path: Path) -> str:
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    return "photo.jpg"


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    with pytest.raises(SystemExit) as exit_:
        main(["eval", *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    assert exit_.value.code == 0, shown.err
    report: dict[str, Any] = json.loads(shown.out.splitlines()[-1])
    return report


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


async def test_candidates_of_several_requests_are_the_servers(
    server: RunningServer, client, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Texts, scores and tokens are the same, and the critic chooses the same candidate as the server."""
    file = write(tmp_path / "questions.jsonl", {"question": "How many?", "answer": "7", "image": photo})
    arguments = ("--questions", file, "--rollouts", tmp_path / "rollouts.jsonl", "--seed", 7)
    report = await asyncio.to_thread(
        evaluate,
        capsys,
        *("curves", "--base-url", server.url, *arguments, "--grading", "exact"),
        *("--max-n", 4, "--per-request", 2, "--max-beam", 2, "--max-tokens", TOKENS),
    )
    rows = read_rows(tmp_path / "rollouts.jsonl")
    gathered = sorted((row for row in rows if "candidate" in row), key=lambda row: row["candidate"])
    scores = [sum(row["step_scores"]) / len(row["step_scores"]) for row in gathered]
    for first in (0, 2):
        scaling = {"n": 2, "include_greedy": first == 0, "return_candidates": True}
        reply = await answer(client, seed=7 + first, max_tokens=TOKENS, test_time_scaling=scaling)
        own, scaling_report = slice(first, first + 2), reply["test_time_scaling"]
        entries = scaling_report["candidates"]
        assert [row["text"] for row in gathered[own]] == [entry["text"] for entry in entries]
        assert [row["tokens"] for row in gathered[own]] == [entry["completion_tokens"] for entry in entries]
        assert scores[own] == pytest.approx([entry["score"] for entry in entries], abs=1e-3)
        assert scores[own][scaling_report["selected"]] == pytest.approx(max(scores[own]), abs=1e-3)
    (beam_row,) = [row for row in rows if "beam" in row]
    assert beam_row["text"] and beam_row["tokens"] > 0
    assert report["tokens"]["candidates"][-1]["tokens"] == sum(row["tokens"] for row in gathered)


async def test_steps_are_scored_as_in_a_chat(
    server: RunningServer, client, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    scaling = {"n": 2, "return_candidates": True}
    reply = await answer(client, seed=3, test_time_scaling=scaling)
    candidates = reply["test_time_scaling"]["candidates"]
    records = [
        {
            "image": [photo],
            "question": "How many?",
            "answer": "7",
            "response": {
                "steps": entry["steps"],
                "process_correctness": [1 if index % 2 else -1 for index in range(len(entry["steps"]))],
            },
            "data_source": "MMMU",
        }
        for entry in candidates
    ]
    scores = tmp_path / "scores.jsonl"
    file = write(tmp_path / "test.jsonl", *records, {**records[0], "image": ["gone.jpg"]})
    report = await asyncio.to_thread(
        evaluate, capsys, "critic", file, "--base-url", server.url, "--scores", scores, "--bad", 0.5
    )
    assert (report["n"], report["bad"]) == (2, 1) and "gone.jpg" in report["bad_examples"][0]
    assert report["critic"] == reply["test_time_scaling"]["critic"]
    scores_by_line = {row["line"]: row["scores"] for row in read_rows(scores)}
    for line, entry in enumerate(candidates):
        assert scores_by_line[line] == pytest.approx(entry["step_scores"], abs=1e-3)
