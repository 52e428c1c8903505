import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image

from clients.cli import main
from tests.clients.chat_server import Reply, chat_server, completion, scaling
from ttscaling.evaluation.nano import METRICS, Outcome, outcome, summary
from ttscaling.evaluation.questions import Question, heldout_questions

RIGHT, WRONG = "3 + 4 = 7.\n\nFinal answer: 7", "3 + 4 = 8.\n\nFinal answer: 8"
QUESTION = Question("What is 3 + 4?", (Image.new("RGB", (8, 8)),), answer="7", kind="row sum")


def reply(right: str, selected: int, texts: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A Best-of-8 reply whose candidates are right where `right` has a 1."""
    texts = texts or {"1": RIGHT, "0": WRONG}
    answers = [(texts[digit], 0.5) for digit in right]
    return completion(answers[selected][0], test_time_scaling=scaling(*answers, selected=selected))


@pytest.mark.parametrize(
    ("right", "selected", "values"),
    [
        ("11111111", 3, (1, 1, 1, 1, 1)),
        ("00000000", 3, (0, 0, 0, 0, 0)),
        ("10000000", 0, (1, 0, 0, 1, 1)),
        ("01010000", 4, (0, 2 / 7, 0, 0, 1)),
        ("00001111", 7, (0, 4 / 7, 0, 1, 1)),  # a tie of votes goes to the earlier answer
        ("10101011", 1, (1, 4 / 7, 1, 0, 1)),
    ],
)
def test_the_figures_of_one_question(right: str, selected: int, values: tuple[float, ...]) -> None:
    result = outcome(QUESTION, reply(right, selected))
    assert dict(zip(METRICS, result.values, strict=True)) == pytest.approx(
        dict(zip(METRICS, values, strict=True))
    )
    assert (result.kind, result.degraded) == ("row sum", False)


def test_a_failed_critic_is_counted() -> None:
    body = reply("11111111", 0)
    body["test_time_scaling"]["degraded"] = "gone"
    assert outcome(QUESTION, body).degraded


def test_another_number_of_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="7 candidates"):
        outcome(QUESTION, reply("1111111", 0))


def test_differences_are_paired() -> None:
    """best_of_8 beats pass@1 by exactly .5 on every question: no spread, however much both vary."""
    outcomes = [Outcome("row sum", (1, rate, 1, rate + 0.5, 1), False) for rate in (0, 0.5, 0.25, 0.125) * 10]
    report = summary(outcomes, seed=0)
    difference = report["differences"]["best_of_8 - pass@1"]
    assert difference == pytest.approx({"difference": 0.5, "low": 0.5, "high": 0.5})
    assert report["pass@1"]["low"] < report["pass@1"]["accuracy"] < report["pass@1"]["high"]


def test_the_command_measures_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve held-out questions; the critic finds the one right answer of the odd-numbered ones."""
    questions = list(heldout_questions(12, 777))
    numbers = {question.message["content"][0]["image_url"]["url"]: n for n, question in enumerate(questions)}
    seeds = set()

    def answer(body: dict[str, Any]) -> Reply:
        image, text = body["messages"][0]["content"]
        number = numbers[image["image_url"]["url"]]
        assert text["text"] == questions[number].text
        assert body["test_time_scaling"] == {"n": 8, "return_candidates": True}
        seeds.add(body["seed"])
        texts = {"1": f"Final answer: {questions[number].answer}", "0": "Final answer: 1234567"}
        return Reply(reply("00100000", 2 if number % 2 else 0, texts))

    with chat_server(answer) as url, pytest.raises(SystemExit) as exit_:
        main(["eval", "nano", "--n", "12", "--base-url", url, "--concurrency", "3", "--json"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    report = json.loads(shown.rstrip("\n").split("\n")[-1])
    accuracies = {name: report[name]["accuracy"] for name in METRICS}
    expected = {"greedy": 0, "pass@1": 1 / 7, "majority@8": 0, "best_of_8": 0.5, "pass@8": 1}
    assert accuracies == pytest.approx(expected)
    assert report["best_of_8"]["low"] < 0.5 < report["best_of_8"]["high"]
    assert (report["n"], report["seed"], report["degraded"]) == (12, 777, 0)
    assert sum(entry["n"] for entry in report["kinds"].values()) == 12
    assert len(seeds) == 12
    for name in (*METRICS, *report["kinds"], *report["differences"]):
        assert name in shown


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (Reply({"error": {"message": "no critic"}}, status=400), r"refused \(HTTP 400\).*no critic"),
        (Reply(completion("7")), "holds no candidates"),
        (Reply("<html>"), "is it an internvl3 server"),
    ],
)
def test_a_server_that_cannot_be_measured_is_one_line(
    answered: Reply, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda body: answered) as url, pytest.raises(SystemExit) as exit_:
        main(["eval", "nano", "--n", "3", "--base-url", url])
    assert exit_.value.code == 1
    errors = capsys.readouterr().err
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert re.search(said, line)


def test_no_server_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda body: Reply({})) as url:
        pass  # the port was free a moment ago
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "nano", "--n", "3", "--base-url", url])
    assert exit_.value.code == 1
    assert f"no server answers at {url}" in capsys.readouterr().err
