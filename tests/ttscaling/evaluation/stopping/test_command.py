"""`internvl3 eval stopping` over a real socket, against a server that stops after a fixed number."""

import json
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from tests.clients.chat_server import Reply, chat_server
from tests.terminal import unwrapped
from tests.ttscaling.evaluation.sampling_server import TOKENS, sampling_server
from ttscaling.evaluation.question_sets import heldout_questions

NUM_QUESTIONS, SEED, CHOOSE_SEED = 12, 3, 4


def server(requests: list[dict[str, Any]], stop_at: int) -> Any:
    """Return a sampling server that, with a stop rule, samples only the first `stop_at` candidates."""
    answers: dict[str, str] = {}
    for seed in (SEED, CHOOSE_SEED):
        answers |= {question.text: question.answer for question in heldout_questions(NUM_QUESTIONS, seed)}
    sample = sampling_server(answers, requests)

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
        main(["eval", "stopping", *map(str, arguments), *fixed, "--json"])
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


def test_an_agreement_out_of_range_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--stop-agreement", "0.4")
    assert code == 2 and "agreement must be above 0.5" in unwrapped(err)
