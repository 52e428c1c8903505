"""`internvl3 eval stopping` over a real socket, against a server that stops after a fixed number."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from tests.clients.chat_server import Reply, chat_server
from tests.terminal import unwrapped
from tests.ttscaling.evaluation.sampling_server import TOKENS, sampling_server
from ttscaling.asking.address import Address
from ttscaling.evaluation.question_sets import EvaluationQuestion, heldout_questions
from ttscaling.evaluation.stopping.paired import PairedPlan, measure, summary
from ttscaling.selection.stopping import StopRule

NUM_QUESTIONS, SEED, CHOOSE_SEED = 12, 3, 4


def server(requests: list[dict[str, Any]], stop_at: int) -> Any:
    """Return a `stopping` server for nano's questions."""
    answers: dict[str, str] = {}
    for seed in (SEED, CHOOSE_SEED):
        answers |= {question.text: question.answer for question in heldout_questions(NUM_QUESTIONS, seed)}
    return stopping(sampling_server(answers, requests), stop_at)


def stopping(sample: Callable[[dict[str, Any]], Reply], stop_at: int) -> Callable[[dict[str, Any]], Reply]:
    """Return a sampling server that, with a stop rule, samples only the first `stop_at` candidates."""

    def reply(body: dict[str, Any]) -> Reply:
        scaling = body["test_time_scaling"]
        if not any(key in scaling for key in ("stop_score", "stop_agreement")):
            return sample(body)
        answered = sample({**body, "test_time_scaling": {**scaling, "n": stop_at}})
        answered.body["test_time_scaling"]["stopped"] = "score"  # type: ignore[index]
        return answered

    return reply


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    fixed = ("--n-questions", str(NUM_QUESTIONS), "--seed", str(SEED), "--n", "6")
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "stopping", *fixed, *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    return int(exit_.value.code or 0), shown.out, shown.err


def test_tokens_and_accuracy_are_compared_on_the_same_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[dict[str, Any]] = []
    page = tmp_path / "page.md"
    with chat_server(server(requests, stop_at=3)) as url:
        code, out, _ = run(
            capsys, "--base-url", url, "--stop-score", "0.9", "--max-parallel", "2", "--page", page
        )
    assert code == 0
    report = json.loads(out.splitlines()[-1])
    assert report["rule"] == {"stop_score": 0.9, "max_parallel": 2}
    assert report["full"]["tokens"]["tokens"] == 6 * TOKENS
    assert report["adaptive"]["tokens"]["tokens"] == 3 * TOKENS
    assert report["saved"] == pytest.approx({"share": 0.5, "low": 0.5, "high": 0.5})
    lost = report["adaptive"]["accuracy"]["accuracy"] - report["full"]["accuracy"]["accuracy"]
    assert report["difference"]["difference"] == pytest.approx(lost)
    assert report["stopped"] == {"score": NUM_QUESTIONS} and report["chosen_on"] == {}
    seeds = [body["seed"] for body in requests]
    assert len(set(seeds)) == NUM_QUESTIONS and len(seeds) == 2 * NUM_QUESTIONS, (
        "each question is asked twice"
    )
    adaptive = [body["test_time_scaling"] for body in requests if "stop_score" in body["test_time_scaling"]]
    assert len(adaptive) == NUM_QUESTIONS
    assert all((rule["stop_score"], rule["max_parallel"]) == (0.9, 2) for rule in adaptive)
    assert report["full"]["seconds"]["seconds"] > 0 and "seconds a question" in page.read_text()
    assert "| adaptive |" in page.read_text() and "-50.0 (-50.0 to -50.0) %" in page.read_text()


def test_the_rule_is_chosen_on_other_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests: list[dict[str, Any]] = []
    choice = ("--choose-on", "8", "--choose-seed", CHOOSE_SEED, "--rollouts", tmp_path / "rollouts.jsonl")
    with chat_server(server(requests, stop_at=2)) as url:
        code, out, _ = run(capsys, "--base-url", url, *map(str, choice))
        same, _, err = run(capsys, "--base-url", url, "--choose-seed", str(SEED))
    assert code == 0
    report = json.loads(out.splitlines()[-1])
    assert 0 < report["rule"]["stop_score"] < 1
    assert (
        report["chosen_on"]["n_questions"] == 8 and f"seed {CHOOSE_SEED}" in report["chosen_on"]["questions"]
    )
    assert report["chosen_on"]["adaptive"]["tokens"] <= report["chosen_on"]["full"]["tokens"] == 6 * TOKENS
    shown = {json.dumps(question.message) for question in heldout_questions(NUM_QUESTIONS, SEED)}
    chosen_on = [body for body in requests if body["test_time_scaling"].get("return_candidates")]
    assert len(chosen_on) == 8 and not any(json.dumps(body["messages"][0]) in shown for body in chosen_on)
    assert same == 1 and "must be chosen on other questions" in err


def test_a_rule_is_chosen_and_reported_on_questions_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve of thirty questions, drawn by the seed, are reported on; the rule is chosen on the others."""
    answers = {f"Question {number}?": str(100 + number) for number in range(30)}
    file, requests = tmp_path / "own.jsonl", list[dict[str, Any]]()
    file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in answers.items()))
    with chat_server(stopping(sampling_server(answers, requests), stop_at=2)) as url:
        fixed = ("--base-url", url, "--questions", file, "--temperature", "0.9")
        code, out, _ = run(capsys, *fixed, "--grading", "relaxed", "--concurrency", "4")
        too_many, _, err = run(capsys, *fixed, "--n-questions", "30")
    assert code == 0
    report = json.loads(out.splitlines()[-1])
    assert (report["grading"], report["n_questions"], report["concurrency"]) == ("relaxed", 12, 4)
    assert report["questions"].startswith("own.jsonl (sha256 ")
    others = report["chosen_on"]
    assert others["n_questions"] == 18 and "after 12 others" in others["questions"]
    assert not others["surely"], "18 questions prove no loss below a point"
    asked = {how: set[str]() for how in ("choosing", "reporting")}
    for body in requests:
        how = "choosing" if body["test_time_scaling"].get("return_candidates") else "reporting"
        asked[how].add(body["messages"][0]["content"][-1]["text"])
        assert body["temperature"] == 0.9
    assert len(asked["choosing"]) == 18 and len(asked["reporting"]) == 12
    assert not asked["choosing"] & asked["reporting"]
    assert too_many == 1 and "none is left" in err


async def test_seconds_are_compared_in_pairs() -> None:
    """A token takes a tenth of a second, by the clock of the test. The rule goes first every other time."""
    answers = {f"Question {number}?": "7" for number in range(6)}
    requests: list[dict[str, Any]] = []
    sample = stopping(sampling_server(answers, requests), stop_at=3)
    seconds = 0.0

    def slow(body: dict[str, Any]) -> Reply:
        nonlocal seconds
        reply = sample(body)
        assert not isinstance(reply.body, str)
        seconds += 0.1 * reply.body["test_time_scaling"]["usage"]["policy"]["completion"]
        return reply

    questions = [EvaluationQuestion(text, (), answer, "all") for text, answer in answers.items()]
    plan = PairedPlan(n=6, rule=StopRule(score=0.9), seed=3, fields={})
    with chat_server(slow) as url:
        pairs = await measure(
            Address(url, {}),
            questions,
            plan,
            lambda answer, known: answer == known,
            concurrency=1,
            clock=lambda: seconds,
        )
    report = summary(pairs, seed=0)
    assert report["full"]["seconds"]["seconds"] == pytest.approx(6.0)
    assert report["adaptive"]["seconds"]["seconds"] == pytest.approx(3.0)
    assert report["saved_seconds"] == pytest.approx({"share": 0.5, "low": 0.5, "high": 0.5})
    first_by_rule = ["stop_score" in body["test_time_scaling"] for body in requests[::2]]
    assert first_by_rule == [False, True] * 3


def test_an_agreement_out_of_range_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--stop-agreement", "0.4")
    assert code == 2 and "agreement must be above 0.5" in unwrapped(err)
