"""The command `internvl3 train nano-data`, which writes data for a nano critic by `train critic`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.console import AsJson, CommandError, run_command


def nano_data(
    output: Annotated[Path, typer.Option(help="Folder for the files and pictures.")],
    questions: Annotated[
        int, typer.Option(min=0, help="Number of questions for `train rollouts`, in questions.jsonl.")
    ] = 0,
    exercises: Annotated[
        int, typer.Option(min=0, help="Number of exercises for `train critic`, named by critic.json.")
    ] = 0,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", help="A meta.json whose data sets critic.json names too. It can be given several times."
        ),
    ] = None,
    shares: Annotated[
        str,
        typer.Option(
            help="Share of each kind of exercise: readings of rows, their beginnings, facts (single "
            "operations), exercises without pictures, and solutions."
        ),
    ] = "readings=0.4,facts=0.2,exercises=0.05,solutions=0.35",
    seed: Annotated[int, typer.Option(help="Seed of the questions, the exercises and the pictures.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Write nano's questions and judged exercises on training drawings, for a critic by `train critic`.

    An exercise is a list of readings or operations, or a written solution with slips. Its steps have known
    values, which rollouts only estimate.

        internvl3 train nano-data --output runs/questions --questions 600
        internvl3 train rollouts --questions runs/questions/questions.jsonl --output runs/rollouts
        internvl3 train nano-data --output runs/data --exercises 20000 --with runs/rollouts/critic.json
        internvl3 train critic --model MODEL --data runs/data/critic.json --output runs/critic
    """
    from ttscaling.train.nano.critic_data import write_exercises, write_questions

    def report() -> Mapping[str, Any]:
        if not questions and not exercises:
            raise CommandError("nothing was asked for: add --questions or --exercises with a number")
        files = {}
        try:
            if questions:
                files["questions"] = str(write_questions(output, questions, seed=seed))
            if exercises:
                file = write_exercises(
                    output, exercises, seed=seed, beside=beside or (), shares=_shares(shares)
                )
                files["data"] = str(file)
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        return files

    run_command(report, lambda files, console: console.print(*files.values(), sep="\n"), as_json)


def _shares(text: str) -> dict[str, float]:
    """Return the shares in a text. Raises ValueError if it doesn't have the form of the default."""
    try:
        pairs = [entry.split("=") for entry in text.split(",")]
        return {name.strip(): float(share) for name, share in pairs}
    except ValueError as error:
        raise ValueError(
            f"--shares {text!r} can't be read: write kinds and numbers, like readings=0.4,facts=0.2"
        ) from error
