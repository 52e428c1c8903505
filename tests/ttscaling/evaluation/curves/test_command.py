"""`internvl3 eval curves` over a real socket, against a server whose candidates the test knows."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from tests.clients.chat_server import SETUP, Reply, chat_server
from tests.ttscaling.evaluation.sampling_server import TOKENS, candidate, sampling_server
from ttscaling.asking.concurrency import SEEDS_APART
from ttscaling.evaluation.curves.figures import sizes_up_to

QUESTIONS = {f"Question {number}?": str(100 + number) for number in range(12)}
SEED = 5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [{"question": text, "answer": answer} for text, answer in QUESTIONS.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    fixed = ("--grading", "exact", "--seed", str(SEED), "--draws", "200")
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "curves", *map(str, arguments), *fixed, "--json"])
    shown = capsys.readouterr()
    return int(exit_.value.code or 0), shown.out, shown.err


def report_of(out: str) -> dict[str, Any]:
    return json.loads(out.splitlines()[-1])


def known(number: int, n: int) -> list[dict[str, Any]]:
    """Return the candidates that one request for n candidates of a question would bring."""
    answer = list(QUESTIONS.values())[number]
    return [candidate(index, answer, SEED + number * SEEDS_APART, greedy=index == 0) for index in range(n)]


def share(right: Callable[[int, Sequence[dict[str, Any]]], bool], n: int) -> float:
    return sum(right(number, known(number, n)) for number in range(len(QUESTIONS))) / len(QUESTIONS)


def is_right(number: int, entry: dict[str, Any]) -> bool:
    return entry["text"].endswith(f": {list(QUESTIONS.values())[number]}")


def test_curves_from_several_requests_equal_those_of_one_request(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the largest N every draw holds all candidates, so the figures are exact."""
    requests: list[dict[str, Any]] = []
    with chat_server(sampling_server(QUESTIONS, requests)) as url:
        code, out, _ = run(
            capsys, "--base-url", url, "--questions", file, "--max-n", "10", "--per-request", "4"
        )
    assert code == 0
    report = report_of(out)
    curves = {name: {entry["n"]: entry for entry in curve} for name, curve in report["curves"].items()}
    assert list(curves["oracle"]) == [1, 2, 4, 8, 10]

    def critics(number: int, candidates: Sequence[dict[str, Any]]) -> bool:
        return is_right(number, max(candidates, key=lambda entry: entry["score"]))

    def anyones(number: int, candidates: Sequence[dict[str, Any]]) -> bool:
        return any(is_right(number, entry) for entry in candidates)

    assert curves["best_of_n/mean"][10]["accuracy"] == pytest.approx(share(critics, 10))
    assert curves["oracle"][10]["accuracy"] == pytest.approx(share(anyones, 10))
    assert curves["best_of_n/mean"][1]["accuracy"] == 0, "the greedy candidate is wrong here"
    assert curves["oracle"][4]["accuracy"] < curves["oracle"][8]["accuracy"]
    for n, searched in curves["beam_search"].items():
        assert searched["accuracy"] == pytest.approx(share(critics, n)), (
            "this server's beam search returns the critic's choice"
        )
    for curve in report["curves"].values():
        assert all(entry["low"] <= entry["accuracy"] <= entry["high"] for entry in curve)
    assert [entry["tokens"] for entry in report["tokens"]["candidates"]] == [
        TOKENS * n for n in (1, 2, 4, 8, 10)
    ]
    difference = report["differences"]["weighted_vote/min - self_consistency"][-1]
    expected = curves["weighted_vote/min"][10]["accuracy"] - curves["self_consistency"][10]["accuracy"]
    assert difference["difference"] == pytest.approx(expected)
    assert (report["n_questions"], report["max_n"], report["seed"], report["grading"]) == (
        12,
        10,
        SEED,
        "exact",
    )
    sizes = sorted(
        body["test_time_scaling"]["n"]
        for body in requests
        if body["test_time_scaling"]["method"] == "best_of_n"
    )
    assert sizes == [3] * 24 + [4] * 12, "ten candidates come in three requests"


def test_a_second_run_asks_only_for_what_it_lacks(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runs ask for four candidates of six questions, then for eight of twelve, then for nothing new."""
    requests: list[dict[str, Any]] = []
    kept, page, plot = tmp_path / "rollouts.jsonl", tmp_path / "docs" / "page.md", tmp_path / "curves.svg"
    common = ("--questions", file, "--rollouts", kept, "--max-beam", "2", "--page", page, "--plot", plot)
    with chat_server(sampling_server(QUESTIONS, requests)) as url:
        arguments = ("--base-url", url, *common, "--per-request", "4")
        _, first, _ = run(capsys, *arguments, "--max-n", "4", "--n-questions", "6")
        assert len(requests) == 6 * 2
        _, second, _ = run(capsys, *arguments, "--max-n", "8")
        assert len(requests) == 12 * 3
        code, third, _ = run(capsys, *arguments, "--max-n", "8")
        assert len(requests) == 12 * 3
        refused, _, err = run(capsys, *arguments, "--max-n", "8", "--temperature", "0.5")
    assert code == 0 and report_of(second) == report_of(third) != report_of(first)
    assert refused == 1 and "temperature" in err and "name another file" in err
    text = page.read_text()
    assert text.count("<!-- curves -->") == text.count("<!-- end of curves -->") == 1
    assert "12 questions" in text and "6 questions" not in text and "](../curves.svg)" in text
    assert "For N = 8 there is only one draw, which holds all candidates." in text
    assert plot.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        (
            {"policy": {**SETUP["policy"], "checkpoint": "77e1"}},
            'policy.checkpoint is "3f0c" there and "77e1" now',
        ),
        (
            {"critic": {**SETUP["critic"], "checkpoint": "02cd"}},
            'critic.checkpoint is "91ab" there and "02cd" now',
        ),
        (
            {"policy": {**SETUP["policy"], "sampling": {"temperature": 0.7}}},
            "policy.sampling.temperature is 1.3 there and 0.7 now",
        ),
        ({"version": "0.2.0"}, 'version is "0.1.0" there and "0.2.0" now'),
    ],
)
def test_candidates_of_two_servers_are_never_mixed(
    changed: Mapping[str, Any], setting: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is asked of the other server, and the first one still goes on with its own file."""
    kept = tmp_path / "rollouts.jsonl"
    arguments = ("--questions", file, "--max-n", "4", "--max-beam", "0", "--rollouts", kept)
    requests: list[dict[str, Any]] = []
    server = sampling_server(QUESTIONS, requests)
    with chat_server(server) as url:
        assert run(capsys, "--base-url", url, *arguments)[0] == 0
    number = len(requests)
    with chat_server(server, setup={**SETUP, **changed}) as url:
        code, _, err = run(capsys, "--base-url", url, *arguments)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1 and f"server.{setting}" in line and "name another file" in line
    assert line.count(" there and ") == 1
    with chat_server(server) as url:
        assert run(capsys, "--base-url", url, *arguments)[0] == 0
    assert len(requests) == number


def test_another_seed_draws_other_questions_and_is_another_file(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[dict[str, Any]] = []
    kept = tmp_path / "rollouts.jsonl"
    fixed = ("--questions", file, "--max-n", "2", "--max-beam", "0", "--n-questions", "6", "--rollouts", kept)
    with chat_server(sampling_server(QUESTIONS, requests)) as url:
        code, out, _ = run(capsys, "--base-url", url, *fixed)
        with pytest.raises(SystemExit):
            main(["eval", "curves", "--base-url", url, *map(str, fixed), "--grading", "exact", "--seed", "6"])
    refusal = capsys.readouterr().err
    asked = [body["messages"][0]["content"][-1]["text"] for body in requests]
    assert code == 0 and len(set(asked)) == 6 and set(asked) != set(list(QUESTIONS)[:6])
    assert f"drawn from 12 with seed {SEED}" in report_of(out)["questions"]
    assert "seed is 5 there and 6 now" in refusal and len(requests) == 6


def test_a_server_that_does_not_state_what_it_runs_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[dict[str, Any]] = []
    with chat_server(sampling_server(QUESTIONS, requests), setup=None) as url:
        code, _, err = run(capsys, "--base-url", url, "--questions", file)
    assert code == 1 and "use the address of an internvl3 server" in err and not requests


def test_a_run_that_fails_keeps_its_candidates(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[dict[str, Any]] = []
    works = sampling_server(QUESTIONS, requests)

    def fragile(body: dict[str, Any]) -> Reply:
        if len(requests) == 5:
            requests.append({})
            return Reply("<html>")
        return works(body)

    kept = tmp_path / "rollouts.jsonl"
    with chat_server(fragile) as url:
        arguments = (
            *("--base-url", url, "--questions", file, "--max-n", "4", "--max-beam", "0"),
            *("--rollouts", kept, "--concurrency", "1"),
        )
        code, _, err = run(capsys, *arguments)
        assert code == 1 and "sent no JSON object" in err
        code, _, _ = run(capsys, *arguments)
    assert code == 0 and len(requests) == 12 + 1


def test_missing_candidates_are_an_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lossy(body: dict[str, Any]) -> Reply:
        reply = dict(sampling_server(QUESTIONS, [])(body).body)  # type: ignore[arg-type]
        reply["test_time_scaling"] |= {"degraded": "candidate 1 failed: out of memory"}
        del reply["test_time_scaling"]["candidates"][1]
        return Reply(reply)

    with chat_server(lossy) as url:
        code, _, err = run(capsys, "--base-url", url, "--questions", file, "--max-n", "4", "--max-beam", "0")
    assert code == 1 and "3 of 4 candidates came back: candidate 1 failed: out of memory" in err


def test_a_plot_of_an_unknown_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--plot", "curves.bmp")
    assert code == 2 and ".png" in err


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, [1]), (2, [1, 2]), (10, [1, 2, 4, 8, 10]), (8, [1, 2, 4, 8])]
)
def test_sizes(most: int, sizes: list[int]) -> None:
    assert sizes_up_to(most) == sizes
