import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clients.cli import main
from tests.clients.chat_server import Reply, chat_server, completion, scaling
from ttscaling.evaluation.nano.candidates import read_reply
from ttscaling.evaluation.nano.command import Outcome, outcome, summary
from ttscaling.evaluation.nano.tables import METRICS
from ttscaling.evaluation.question_sets import EvaluationQuestion, heldout_questions

RIGHT, WRONG = "3 + 4 = 7.\n\nFinal answer: 7", "3 + 4 = 8.\n\nFinal answer: 8"
QUESTION = EvaluationQuestion("What is 3 + 4?", (Image.new("RGB", (8, 8)),), answer="7", kind="row sum")


def reply(
    right: str,
    selected: int,
    texts: Mapping[str, str] | None = None,
    scores: Sequence[float | None] = (0.5,) * 8,
) -> dict[str, Any]:
    """Return a Best-of-8 reply; `right` has a 1 for each right candidate and a 0 for each wrong one.

    All candidates are choices. The policy gives wrong answers a higher log-probability than right ones.
    """
    texts = texts or {"1": RIGHT, "0": WRONG}
    answers = [(texts[digit], score) for digit, score in zip(right, scores, strict=False)]
    body = completion(answers[selected][0], test_time_scaling=scaling(*answers, selected=selected))
    order = sorted(range(len(right)), key=lambda index: index != selected)
    body["choices"] = [
        {
            "index": position,
            "message": {"role": "assistant", "content": answers[index][0]},
            "logprobs": {"content": [{"logprob": -0.25}, {"logprob": -0.5 if right[index] == "1" else -0.1}]},
            "finish_reason": "stop",
        }
        for position, index in enumerate(order)
    ]
    return body


@pytest.mark.parametrize(
    ("right", "selected", "values"),
    [
        ("11111111", 3, (1, 1, 1, 1, 1, 1, 1)),
        ("00000000", 3, (0, 0, 0, 0, 0, 0, 0)),
        ("10000000", 0, (1, 0, 0, 0, 1, 0, 1)),
        ("01010000", 4, (0, 2 / 7, 0, 0, 0, 0, 1)),
        ("00001111", 7, (0, 4 / 7, 0, 0, 1, 0, 1)),  # Of answers with equal votes the earlier one wins.
        ("10101011", 1, (1, 4 / 7, 1, 0, 0, 1, 1)),
    ],
)
def test_the_figures_of_one_question(right: str, selected: int, values: tuple[float, ...]) -> None:
    result = outcome(read_reply(QUESTION, reply(right, selected)))
    without_orm = [name for name in METRICS if name != "orm_8"]
    assert result.values == pytest.approx(dict(zip(without_orm, values, strict=True)))
    assert (result.kind, result.degraded) == ("row sum", False)


def test_scores_weigh_the_vote_and_an_outcome_reward_model_ranks() -> None:
    """Two right answers scored 0.9 outweigh six wrong ones scored 0.25; the ORM ranks a wrong one highest."""
    answers = read_reply(QUESTION, reply("00000011", 6, scores=[0.25] * 6 + [0.9] * 2))
    result = outcome(answers, [0.1, 0.2, 0.9, 0.1, 0.1, 0.1, 0.8, 0.8])
    assert (result.values["weighted_vote_8"], result.values["orm_8"]) == (1, 0)


def test_a_candidate_that_was_cut_off_has_no_vote_for_its_last_line() -> None:
    """Six candidates end in a line with 7, but the token limit ended them, so nobody knows how they go on."""
    body = reply("11111100", 0, {"1": "I add the rows.\n\n7", "0": WRONG})
    assert outcome(read_reply(QUESTION, body)).values["majority@8"] == 1
    for candidate in body["test_time_scaling"]["candidates"][:6]:
        candidate["finish_reason"] = "length"
    values = outcome(read_reply(QUESTION, body)).values
    assert (values["greedy"], values["majority@8"], values["weighted_vote_8"], values["pass@8"]) == (
        0,
        0,
        0,
        0,
    )


def test_the_weighted_vote_sums_the_lowest_step_scores() -> None:
    """Six wrong candidates have high means and a step that fails; two right ones are sound throughout."""
    body = reply("00000011", 0)
    for index, candidate in enumerate(body["test_time_scaling"]["candidates"]):
        candidate["step_scores"] = [0.7, 0.7] if index > 5 else [1.0, 0.2]
    assert outcome(read_reply(QUESTION, body)).values["weighted_vote_8"] == 1


def test_candidates_without_a_score_have_no_weight() -> None:
    answers = read_reply(QUESTION, reply("00000011", 0, scores=[None] * 6 + [0.1] * 2))
    assert outcome(answers).values["weighted_vote_8"] == 1
    unscored = read_reply(QUESTION, reply("00000011", 7, scores=[None] * 8))
    assert outcome(unscored).values["weighted_vote_8"] == 1  # The server's choice counts then.


def test_a_failed_critic_is_counted() -> None:
    body = reply("11111111", 0)
    body["test_time_scaling"]["degraded"] = "gone"
    assert outcome(read_reply(QUESTION, body)).degraded


def test_another_number_of_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="7 candidates"):
        read_reply(QUESTION, reply("1111111", 0))


def test_differences_are_paired() -> None:
    """best_of_8 is 0.5 above pass@1 on every question, so their difference has an interval of width 0."""
    outcomes = [
        Outcome("row sum", {"pass@1": rate, "best_of_8": rate + 0.5, "pass@8": 1.0}, False)
        for rate in (0, 0.5, 0.25, 0.125) * 10
    ]
    report = summary(outcomes, seed=0)
    difference = report["differences"]["best_of_8 - pass@1"]
    assert difference == pytest.approx({"difference": 0.5, "low": 0.5, "high": 0.5})
    assert report["pass@1"]["low"] < report["pass@1"]["accuracy"] < report["pass@1"]["high"]
    way = report["share_of_the_way"]
    assert way["share"] == pytest.approx(0.5 / (1 - 0.21875))
    assert way["low"] < way["share"] < way["high"]


def test_the_command_measures_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The critic finds the one right answer of each held-out question with an odd index."""
    questions = list(heldout_questions(12, 777))
    numbers = {question.message["content"][0]["image_url"]["url"]: n for n, question in enumerate(questions)}
    seeds = set()

    def answer(body: dict[str, Any]) -> Reply:
        image, text = body["messages"][0]["content"]
        number = numbers[image["image_url"]["url"]]
        assert text["text"] == questions[number].text
        assert body["test_time_scaling"] == {"n": 8, "return_candidates": True}
        assert (body["n"], body["logprobs"]) == (8, True)
        seeds.add(body["seed"])
        texts = {"1": f"Final answer: {questions[number].answer}", "0": "Final answer: 1234567"}
        return Reply(reply("00100000", 2 if number % 2 else 0, texts))

    with chat_server(answer) as url, pytest.raises(SystemExit) as exit_:
        command = ["eval", "nano", "--n-questions", "12", "--base-url", url, "--concurrency", "3", "--json"]
        main([*command, "--page", str(tmp_path / "page.md")])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    report = json.loads(shown.rstrip("\n").split("\n")[-1])
    measured = [name for name in METRICS if name != "orm_8"]
    accuracies = {name: report[name]["accuracy"] for name in measured}
    expected = dict.fromkeys(measured, 0) | {"pass@1": 1 / 7, "best_of_8": 0.5, "pass@8": 1}
    assert accuracies == pytest.approx(expected)
    assert report["best_of_8"]["low"] < 0.5 < report["best_of_8"]["high"]
    assert (report["n"], report["seed"], report["degraded"]) == (12, 777, 0)
    assert sum(entry["n"] for entry in report["kinds"].values()) == 12
    assert len(seeds) == 12
    page = (tmp_path / "page.md").read_text()
    assert "| pass@8 | 100.0 (100.0 to 100.0) |" in page and "| greedy | 0.0 (0.0 to 0.0) | +50.0 (" in page
    for name in (*measured, *report["kinds"], *report["differences"]):
        assert name in shown


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Reply({"error": {"message": "no critic"}}, status=400), r"refused \(HTTP 400\).*no critic"),
        (Reply(completion("7")), "holds no candidates"),
        (Reply("<html>"), "use the address of an internvl3 server"),
    ],
)
def test_a_server_that_cannot_be_measured_is_one_line(
    answer: Reply, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda body: answer) as url, pytest.raises(SystemExit) as exit_:
        main(["eval", "nano", "--n-questions", "3", "--base-url", url])
    assert exit_.value.code == 1
    errors = capsys.readouterr().err
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert re.search(message, line)


def test_no_server_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda body: Reply({})) as url:
        pass  # After the block nothing listens on this port.
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "nano", "--n-questions", "3", "--base-url", url])
    assert exit_.value.code == 1
    assert f"no server answers at {url}" in capsys.readouterr().err


def test_an_orm_that_is_no_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "nano", "--orm", str(tmp_path)])
    assert exit_.value.code == 1
    assert "internvl3 train nano --resume" in capsys.readouterr().err
