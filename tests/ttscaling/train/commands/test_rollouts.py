"""The command `internvl3 train rollouts`, also when it is killed and called again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.clients.chat_server import SETUP
from tests.ttscaling.train.rollout_policy import PIXEL, RIGHT, PolicyServer
from ttscaling.train.cli import app

NAMES = ("judged.jsonl", "correctness.jsonl", "format.jsonl", "dropout.jsonl")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(PIXEL)
    rows: list[dict[str, Any]] = [
        {"image": "a.png", "question": f"Which of {number}?", "answer": RIGHT} for number in range(4)
    ]
    chat = [{"from": "human", "value": "3 + 4?"}, {"from": "gpt", "value": f"Final answer: {RIGHT}"}]
    rows.append({"conversations": chat})
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def call(questions: Path, *args: str) -> Result:
    output = questions.parent / "out"
    return CliRunner().invoke(
        app, ["rollouts", "--questions", str(questions), "--output", str(output), *args]
    )


def test_from_questions_to_data(questions: Path) -> None:
    with PolicyServer().running() as policy:
        options = ["--base-url", f"{policy.url}/v1", "--model", "nano", "--top-k", "0", "--json"]
        extra = ["--instruction", "{question} In steps.", "--fields", '{"v2pe_delta": 0.25}']
        result = call(questions, *options, *extra, "--api-key", "k")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["questions"], summary["bad"], summary["solutions"]) == (5, 0, 20)
    assert summary["continuations"] == 16 * summary["prefixes"] > 0
    assert summary["tokens"]["prompt"] > summary["tokens"]["cached"] > 0
    out = questions.parent / "out"
    assert summary["data"] == [str(out / "critic.json"), str(out / "pairs.json")]
    counts = [len((out / name).read_text().splitlines()) for name in NAMES]
    assert list(summary["records"].values()) == counts
    for body in policy.bodies:
        assert (body["model"], body["temperature"], body["v2pe_delta"]) == ("nano", 1.0, 0.25)
        assert "top_k" not in body
        assert "max_tokens" not in body
    judged = json.loads((out / "judged.jsonl").read_text().splitlines()[0])
    assert judged["question"] == "Which of 0? In steps."
    for meta, form in (("critic.json", "judged"), ("pairs.json", "pairs")):
        checked = CliRunner().invoke(app, ["check", str(out / meta), "--format", form])
        assert checked.exit_code == 0, checked.output


def test_killed_at_any_moment_it_goes_on(questions: Path) -> None:
    """A process that is killed during its requests and started again writes the same bytes as one run."""
    uninterrupted = questions.parent / "uninterrupted"
    with PolicyServer().running() as policy:
        assert call(questions, "--base-url", policy.url, "--output", str(uninterrupted)).exit_code == 0
    expected = len(policy.bodies)

    def slowly(number: int, body: object) -> None:
        time.sleep(0.05)

    out = questions.parent / "out"
    with PolicyServer(slowly).running() as policy:
        command = [sys.executable, "-m", "ttscaling.train", "rollouts", "--base-url", policy.url]
        command += ["--questions", str(questions), "--output", str(out), "--concurrency", "2"]
        process = subprocess.Popen(command, env=os.environ | {"COLUMNS": "80"}, stderr=subprocess.PIPE)
        while len(policy.bodies) < expected // 2:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = len(policy.bodies)
        assert call(questions, "--base-url", policy.url).exit_code == 0
    assert before < expected
    assert expected <= len(policy.bodies) <= expected + 2, "only requests that were under way are sent again"
    for name in NAMES:
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--instruction", "In steps."], "{question}"),
        (["--fields", "[1]"], "write an object"),
        (["--fields", "{"], "isn't JSON"),
        (["--base-url", "http://127.0.0.1:9"], "no server answers"),
    ],
)
def test_a_mistake_ends_with_a_message_without_a_traceback(
    questions: Path, args: list[str], message: str
) -> None:
    result = call(questions, *args)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_bad_questions_are_named(questions: Path) -> None:
    with questions.open("a") as file:
        file.write('{"image": "b.png", "question": "Which?", "answer": "7"}\n')
        file.write('{"question": "<image> Which?", "answer": "7", "image": ["a.png", "a.png"]}\n')
    with PolicyServer().running() as policy:
        url = ["--base-url", policy.url]
        assert "2 of 7 records were bad" in call(questions, *url).output
        allowed = call(questions, *url, "--bad-questions", "0.5", "--continuations", "0", "--blind", "0")
    assert allowed.exit_code == 0, allowed.output
    assert "questions.jsonl:6" in allowed.output
    assert "questions.jsonl:7" in allowed.output


def test_a_folder_with_another_plan_is_refused(questions: Path) -> None:
    with PolicyServer().running() as policy:
        url = ["--base-url", policy.url, "--continuations", "0", "--blind", "0"]
        assert call(questions, *url).exit_code == 0
        result = call(questions, *url, "--solutions", "8")
    assert result.exit_code == 1
    assert "solutions is 4 there and 8 now" in result.output


def test_a_folder_of_another_policy_is_refused(questions: Path) -> None:
    """A critic takes no part in rollouts, so the folder goes on with another one."""
    other = {**SETUP["policy"], "checkpoint": "77e1"}
    setups = (SETUP, {**SETUP, "policy": other}, {**SETUP, "critic": other})
    results = []
    for setup in setups:
        with PolicyServer().running(setup) as policy:
            results.append(call(questions, "--base-url", policy.url, "--continuations", "0", "--blind", "0"))
    assert [result.exit_code for result in results] == [0, 1, 0], results
    assert 'server.policy.checkpoint is "3f0c" there and "77e1" now' in results[1].output
