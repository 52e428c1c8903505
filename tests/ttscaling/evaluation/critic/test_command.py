"""`internvl3 eval critic` over a real socket, against a server with known scores."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clients.cli import main
from tests.clients.chat_server import SETUP, Reply, chat_server
from ttscaling.reports.step_f1 import macro_f1

PATH = "/v1/critic/score"
SOLUTIONS = [  # The source, the marks and the critic's scores.
    ("MMMU", (1, 1, -1), (0.95, 0.9, 0.2)),
    ("MMMU", (1, -1, 0), (0.4, 0.95, 0.99)),
    ("WeMath", (1, -1), (0.99, 0.1)),
    ("WeMath", (0, 0), (0.9, 0.1)),
]


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "figure.png")
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(record(n)) + "\n" for n in range(len(SOLUTIONS))))
    return path


def record(number: int) -> dict[str, Any]:
    source, marks, _ = SOLUTIONS[number]
    response = {
        "steps": [f"step {number}.{step}\n\nin two parts" for step in range(len(marks))],
        "process_correctness": list(marks),
    }
    return {
        "image": ["figure.png"],
        "question": f"Question {number}?",
        "answer": "4",
        "response": response,
        "policy_model": "GPT-4o",
        "data_source": source,
    }


def scored(body: dict[str, Any]) -> Reply:
    image, text = body["messages"][0]["content"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    number = int(re.fullmatch(r"Question (\d)\?", text["text"])[1])  # type: ignore[index]
    assert body["answers"] == [record(number)["response"]["steps"]], (
        "the steps are sent unchanged, not split again"
    )
    scores = SOLUTIONS[number][2]
    entry = {"index": 0, "score": 0.5, "steps": body["answers"][0], "step_scores": scores}
    return Reply({"object": "critic.score", "model": "nano-critic", "scores": [entry]})


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "critic", *arguments, "--json"])
    shown = capsys.readouterr()
    return int(exit_.value.code or 0), shown.out, shown.err


def test_the_figures_are_those_of_the_pooled_steps(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(scored, PATH) as url:
        code, out, _ = run(capsys, str(bench), "--base-url", url, "--threshold", "0.85")
    assert code == 0
    report = json.loads(out.splitlines()[-1])
    for source, chosen in {"MMMU": SOLUTIONS[:2], "WeMath": SOLUTIONS[2:], None: SOLUTIONS}.items():
        scores = [score for _, _, scores in chosen for score in scores]
        marks = [mark for _, marks, _ in chosen for mark in marks]
        expected = macro_f1(scores, marks, threshold=0.85)
        entry = report["sources"][source] if source else report["overall"]
        assert entry["macro_f1"]["f1"] == pytest.approx(expected.macro)
        assert entry["f1_wrong"]["f1"] == pytest.approx(expected.wrong)
        assert entry["macro_f1"]["low"] <= expected.macro <= entry["macro_f1"]["high"]
    both = [report["sources"][source]["macro_f1"]["f1"] for source in ("MMMU", "WeMath")]
    assert report["mean_of_sources"]["macro_f1"]["f1"] == pytest.approx(sum(both) / 2)
    assert report["sources"]["WeMath"]["n"] == 1, "a solution with only neutral steps doesn't count"
    assert (report["threshold"], report["critic"], report["n"], report["bad"]) == (0.85, "nano-critic", 3, 0)
    assert report["steps"] == {"right": 4, "wrong": 3, "neutral": 1}
    assert report["best_threshold"]["macro_f1"] >= report["overall"]["macro_f1"]["f1"]


def test_a_second_run_asks_only_for_what_is_missing(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run fails at its third request, which gets no JSON."""
    questions: list[str] = []

    def fragile(body: dict[str, Any]) -> Reply:
        questions.append(body["messages"][0]["content"][1]["text"])
        return scored(body) if len(questions) != 3 else Reply("<html>")

    arguments = (str(bench), "--scores", str(bench.with_name("scores.jsonl")), "--concurrency", "1")
    with chat_server(fragile, PATH) as url:
        code, _, err = run(capsys, *arguments, "--base-url", url)
        assert code == 1 and "sent no JSON object" in err
        code, out, _ = run(capsys, *arguments, "--base-url", url)
    assert code == 0 and json.loads(out.splitlines()[-1])["n"] == 3
    assert questions == [f"Question {number}?" for number in (0, 1, 2, 2, 3)]


def test_scores_of_two_critics_are_never_mixed(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy gives no scores, so the file goes on with another one."""
    arguments = (str(bench), "--scores", str(bench.with_name("scores.jsonl")))
    codes, errors = [], []
    for changed in (
        {},
        {"critic": {**SETUP["critic"], "checkpoint": "02cd"}},
        {"policy": {**SETUP["policy"], "checkpoint": "77e1"}},
    ):
        with chat_server(scored, PATH, setup={**SETUP, **changed}) as url:
            code, _, err = run(capsys, *arguments, "--base-url", url)
        codes.append(code)
        errors.append(err)
    assert codes == [0, 1, 0]
    assert 'server.critic.checkpoint is "91ab" there and "02cd" now' in errors[1]


def test_bad_records_are_named_counted_and_left_out(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One has too few marks, one no image, one an answer that can't be scored, and one is refused."""
    short, lost, unscored, refused = (record(0) for _ in range(4))
    short["response"]["process_correctness"].pop()
    lost["image"] = ["gone.png"]
    unscored["question"], refused["question"] = "Too long?", "Refused?"
    lines = [json.dumps(bad) for bad in (short, lost, unscored, refused)]
    bench.write_text(bench.read_text() + "\n".join(lines) + "\n")

    def server(body: dict[str, Any]) -> Reply:
        text = body["messages"][0]["content"][1]["text"]
        if text == "Refused?":
            return Reply({"error": {"message": "no such picture"}}, status=400)
        if text == "Too long?":
            failed = {"index": 0, "error": "the answer doesn't fit the window"}
            return Reply({"object": "critic.score", "model": "nano-critic", "scores": [failed]})
        return scored(body)

    with chat_server(server, PATH) as url:
        code, out, err = run(capsys, str(bench), "--base-url", url, "--bad", "0.5")
        assert code == 0
        report = json.loads(out.splitlines()[-1])
        strict, _, _ = run(capsys, str(bench), "--base-url", url)
    assert (report["n"], report["bad"]) == (3, 4)
    reasons = ("3 steps have 2 marks", "gone.png", "doesn't fit the window", "no such picture")
    for line, reason in zip(range(5, 9), reasons, strict=True):
        assert re.search(rf"skipped \S+:{line}: .*{reason}", err)
    assert strict == 1, "four of eight are more than one in a hundred, the default"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"object": "critic.score", "model": "m", "scores": []}), "holds no step scores"),
        (Reply({"choices": []}), "use the address of an internvl3 server"),
    ],
)
def test_another_kind_of_server_is_one_line(
    reply: Reply, message: str, bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda body: reply, PATH) as url:
        code, _, err = run(capsys, str(bench), "--base-url", url)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1 and message in line


def test_a_file_that_is_missing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, str(tmp_path / "none.jsonl"))
    assert code == 1 and "none.jsonl" in err
