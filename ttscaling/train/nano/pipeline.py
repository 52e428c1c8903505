"""Run the whole nano chain: train all stages, measure the result, and write model card and examples."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import model
from ttscaling.asking.local_server import CONSOLE_COMMAND, serving
from ttscaling.nano_tasks.problems import heldout

from .card import MINUTES, model_card

STAGES = {  # in their order, each with a file that exists when the stage is finished
    "pretrain": "base/config.json",
    "policy": "policy/config.json",
    "expert": "expert/config.json",
    "rollouts": "rollouts.jsonl",
    "verifier": "verifier/config.json",
    "critic": "critic/config.json",
    "orm": "orm/config.json",
}
NUM_EXAMPLES = 6
EXAMPLE_SEED = 31  # differs from the seed of the evaluation, so the examples are other questions


@dataclass(frozen=True)
class Run:
    """The folder of a run and its settings.

    `questions` is the number of held-out questions. With `miniature` every training takes only a few steps.
    """

    directory: Path
    seed: int
    processes: int
    questions: int
    miniature: bool


def run_pipeline(run: Run, *, resume: bool, install: bool) -> None:
    """Train all stages in order, evaluate them through the server, and write the card and the examples.

    With `resume`, stages whose output exists are skipped. With `install`, the result replaces the shipped
    checkpoints. Raises CalledProcessError if a stage or the evaluation fails, and CommandError if the server
    doesn't start.
    """
    console = Console()
    run.directory.mkdir(parents=True, exist_ok=True)
    for stage, output in STAGES.items():
        if resume and (run.directory / output).exists():
            console.print(f"[bold]{stage}[/bold] is skipped, because {output} exists")
            continue
        console.print(f"[bold]{stage}[/bold] runs on {run.processes} processes")
        started = time.monotonic()
        train_stage(run, stage)
        note_minutes(run.directory, stage, (time.monotonic() - started) / 60)
    console.print("[bold]evaluation[/bold] runs through the server")
    figures = evaluate(run)
    write_examples(run.directory / "examples")
    (run.directory / "README.md").write_text(model_card(figures, run.directory, seed=run.seed))
    if install:
        install_checkpoints(run.directory, Path(model.__file__).parent / "nano")
    console.print(f"The model card is {run.directory / 'README.md'}")


def train_stage(run: Run, stage: str, *, program: str = "ttscaling.train.nano.stages.program") -> None:
    """Run one stage of a program under torch's launcher, with one thread per process."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={run.processes}"]
    arguments = ["-m", program, stage, "--directory", str(run.directory), f"--seed={run.seed}"]
    if run.miniature:
        arguments.append("--miniature")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, *launcher, *arguments], check=True, env=environment)


def note_minutes(directory: Path, stage: str, minutes: float) -> None:
    """Add the duration of a stage to the file that the model card reads."""
    path = directory / MINUTES
    durations = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(durations | {stage: round(minutes, 1)}) + "\n")


def evaluate(run: Run) -> dict[str, object]:
    """Run `internvl3 eval nano` against a server with the new checkpoints, and return its figures."""
    checkpoints = ["--policy", str(run.directory / "policy"), "--critic", str(run.directory / "critic")]
    with serving([*checkpoints, "--name", "nano"], run.directory / "serve.log") as url:
        command = ["eval", "nano", "--base-url", url, "--n-questions", str(run.questions), "--json"]
        command += ["--orm", str(run.directory / "orm")]
        output = subprocess.run(
            [sys.executable, "-c", CONSOLE_COMMAND, *command], check=True, stdout=subprocess.PIPE, text=True
        )
    print(output.stdout)
    return json.loads(output.stdout.splitlines()[-1])


def write_examples(directory: Path) -> None:
    """Write held-out sheets with a question each for the demo, as NAME.png beside NAME.json."""
    directory.mkdir(parents=True, exist_ok=True)
    for problem in heldout(NUM_EXAMPLES, EXAMPLE_SEED):
        name = problem.kind.replace(" ", "-")
        problem.image.save(directory / f"{name}.png")
        record = {"question": problem.question, "answer": problem.answer, "kind": problem.kind}
        (directory / f"{name}.json").write_text(json.dumps(record) + "\n")


def install_checkpoints(source: Path, target: Path) -> None:
    """Replace the shipped checkpoints, examples and card by those of a run."""
    for name in ("policy", "critic", "examples"):
        shutil.rmtree(target / name, ignore_errors=True)
        shutil.copytree(source / name, target / name)
    shutil.copy(source / "README.md", target / "README.md")
