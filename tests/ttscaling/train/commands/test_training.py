"""The commands of `internvl3 train` that train, with their options."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.checkpoint.config_file import described
from model.v2pe import TRAINED_DELTAS
from tests.checkpoints import build_checkpoint
from tests.ttscaling.train.jobs import command_line, job, recipe
from ttscaling.train.cli import app
from ttscaling.train.commands.recipe_options import with_overrides
from ttscaling.train.settings.published import published


def run_command(*arguments: str) -> tuple[int, str]:
    """Return the exit status and the output of a command."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments))
    return result.exit_code, result.output


def test_a_run(tmp_path: Path) -> None:
    training_job = job(tmp_path, recipe=recipe(steps=1))
    evaluation = ["--eval", str(training_job.data), "--eval-every", "3", "--track", "tensorboard"]
    status, output = run_command(*command_line(training_job), *evaluation)
    assert status == 0, output
    assert str(training_job.output / "model") in output.replace("\n", "")
    written = json.loads((training_job.output / "job.json").read_text())
    assert written["recipe"] == training_job.recipe.as_json()
    log = [json.loads(line) for line in (training_job.output / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log if "eval/loss" in row] == [0, 1]
    assert list((training_job.output / "internvl3-train").glob("events.out.tfevents.*"))


def test_a_critic_s_own_options(tmp_path: Path) -> None:
    training_job = job(tmp_path, "critic", recipe=recipe(steps=1))
    status, output = run_command(
        *command_line(training_job),
        *("--labelling", "advantage", "--history", "labels", "--loss", "full", "--text-weight", "0.25"),
    )
    assert status == 0, output
    written = json.loads((training_job.output / "job.json").read_text())
    critic = {"labelling": "advantage", "history": "labels", "loss": "full", "text_weight": 0.25}
    assert written["critic"].items() >= critic.items()
    row = json.loads((training_job.output / "log.jsonl").read_text().splitlines()[-1])
    assert 0 < row["text"] < row["loss"]


@pytest.mark.parametrize("from_file", [True, False])
def test_a_critic_is_served_with_the_system_message_that_it_was_trained_with(
    from_file: bool, tmp_path: Path
) -> None:
    training_job = job(tmp_path, "critic", recipe=recipe(steps=1))
    (tmp_path / "system.txt").write_text("Judge each step.\n")
    value = str(tmp_path / "system.txt") if from_file else "Judge each step."
    status, output = run_command(*command_line(training_job), "--critic-system", value)
    assert status == 0, output
    assert described(training_job.output / "model").system_message == "Judge each step."


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--batch", "0", "batch (0)"),
        ("--deltas", "a,b", "write numbers or fractions"),
        ("--deltas", "1/0", "write numbers or fractions"),
        ("--parts", "head", "parts"),
        ("--max-tokens", "20", "don't fit into a pack of 20: allow longer packs"),
        ("--model", "/nowhere", "config.json"),
        ("--data", "/nowhere", "/nowhere"),
    ],
)
def test_a_mistake_ends_with_a_message_without_a_traceback(
    option: str, value: str, message: str, tmp_path: Path
) -> None:
    arguments = command_line(job(tmp_path))
    arguments[arguments.index(option) + 1] = value
    status, output = run_command(*arguments)
    assert status != 0
    assert message in output and "Traceback" not in output
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lora-rank", "0"], "lora_rank (0)"),
        (["--lora-alpha", "8"], "set lora_rank too"),
        (["--lora-rank", "8"], "leave parts out, or set it to language"),
        (["--export", "adapter"], "set --lora-rank"),
    ],
)
def test_a_mistake_with_adapters_is_named(options: list[str], message: str, tmp_path: Path) -> None:
    """The third command names all parts of the model."""
    status, output = run_command(*command_line(job(tmp_path)), *options)
    assert status == 1 and message in output


def test_adapters_train_the_language_model_alone() -> None:
    assert with_overrides(published("critic", "8B"), {"lora_rank": 8}).parts == ("language",)


@pytest.mark.parametrize("kind", ["pretrain", "sft", "critic", "mpo"])
def test_help_shows_an_example_and_the_options(kind: str) -> None:
    status, output = run_command(kind, "--help")
    assert status == 0
    for part in (f"internvl3 train {kind} --model", "--resume", "--learning-rate", "--deltas", "[required]"):
        assert part in output


def test_a_given_setting_replaces_the_published_one() -> None:
    mpo = published("mpo", "8B")
    assert with_overrides(mpo, {}) == mpo
    short = with_overrides(mpo, {"steps": 5, "deltas": (1.0,)})
    assert (short.steps, short.epochs, short.deltas) == (5, None, (1.0,))
    assert with_overrides(published("pretrain", "8B"), {"epochs": 2.0}).steps is None
    assert with_overrides(published("sft", "8B"), {"steps": 5}).epochs is None
    with pytest.raises(ValueError, match="either steps or epochs"):
        with_overrides(mpo, {"steps": 5, "epochs": 1.0})
    assert mpo.deltas == TRAINED_DELTAS


def test_memory(tmp_path: Path) -> None:
    status, output = run_command("memory", "--model", str(build_checkpoint(tmp_path, "opengvlab")))
    assert status == 0
    figures = {line[:20].strip(): float(line[20:]) for line in output.splitlines()}
    peak = figures.pop("peak")
    for not_on_a_gpu in ("tiles on the host", "state on the disk"):
        del figures[not_on_a_gpu]
    assert max(figures.values()) <= peak <= sum(figures.values()) + 0.5
    status, longer = run_command("memory", "--model", str(tmp_path), "--max-tokens", "262144")
    assert status == 0
    peaks = [float(text[text.index("peak") + 4 :].split()[0]) for text in (longer, output)]
    assert peaks[0] > peaks[1]
    status, output = run_command("memory", "--model", str(tmp_path / "nothing"))
    assert status == 2 and "config.json" in output


def test_the_command_line_is_there_at_once() -> None:
    """`--help`, `check` and `fetch` don't wait for torch, which takes seconds to import."""
    code = "import sys, ttscaling.train.cli; print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"
