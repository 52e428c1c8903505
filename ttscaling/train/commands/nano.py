"""`internvl3 train nano-mpo` and `nano-v2pe`: what two parts of the recipe are worth, measured on nano."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.evaluation.asking import AsJson, EvaluationError, finish

PageOption = Annotated[
    Path | None, typer.Option(help="Write the table into this Markdown page, the plot beside it.")
]


def nano_mpo(
    policy: Annotated[
        Path | None, typer.Option(help="The nano policy to start from; else the embedded one.")
    ] = None,
    critic: Annotated[
        Path | None, typer.Option(help="The nano critic of Best-of-8; else the embedded one.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="For pairs, runs and figures; what is there already is kept.")
    ] = Path("runs/nano-mpo"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds: pairs, data order, sampling.")] = 3,
    rates: Annotated[
        str | None,
        typer.Option(help="Learning rates to choose from, with commas.  [default: 2e-5,5e-5,1e-4]"),
    ] = None,
    variants: Annotated[
        str | None, typer.Option(help="Of the loss, with commas: all terms, without quality, ..; else all.")
    ] = None,
    ablation_seeds: Annotated[
        int | None, typer.Option(min=1, help="With how many seeds all but all terms are trained; else all.")
    ] = None,
    questions: Annotated[int, typer.Option(min=2, help="Held-out questions.")] = 600,
    problems: Annotated[int, typer.Option(min=1, help="Training problems that pairs are made of.")] = 10_000,
    temperature: Annotated[float, typer.Option(help="Of the solutions that pairs are made of.")] = 1.3,
    epochs: Annotated[float, typer.Option(help="Passes over the pairs.")] = 1,
    page: PageOption = None,
    as_json: AsJson = False,
) -> None:
    """MPO on pairs of the nano policy's own solutions, with each term of the loss left out and alone.

    Right solutions of training drawings are preferred to wrong ones. The learning rate is chosen on training
    drawings; pass@1, greedy and Best-of-8 are measured on held-out ones, before and after, with paired
    intervals.

        internvl3 train nano-mpo --page docs/mpo.md --json
    """
    from .nano.mpo import Plan, embedded, run_plan
    from .nano.mpo_page import print_mpo

    def report() -> dict[str, Any]:
        given: dict[str, Any] = {
            "rates": rates and tuple(float(rate) for rate in rates.split(",")),
            "variants": variants and tuple(name.strip() for name in variants.split(",")),
        }
        plan = Plan(
            directory=directory,
            policy=policy or embedded("policy"),
            critic=critic or embedded("critic"),
            seeds=tuple(range(1, seeds + 1)),
            ablation_seeds=ablation_seeds,
            questions=questions,
            problems=problems,
            temperature=temperature,
            epochs=epochs,
            **{name: value for name, value in given.items() if value},
        )
        return run_plan(plan, page)

    finish(said(report), print_mpo, as_json)


def nano_v2pe(
    base: Annotated[
        Path | None,
        typer.Option(help="base/ of a nano run, the pre-trained policy with V2PE; else it is trained too."),
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="For policies and figures; what is there already is kept.")
    ] = Path("runs/nano-v2pe"),
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions of each cell.")] = 200,
    lengths: Annotated[str, typer.Option(help="Multiples of the trained length, with commas.")] = "1,2,4,8",
    seed: Annotated[int, typer.Option(help="Of the weights and data order.")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Training processes; changes the batch.")] = 2,
    miniature: Annotated[
        bool, typer.Option("--miniature", help="A few steps: tests the chain in a minute.")
    ] = False,
    page: PageOption = None,
    as_json: AsJson = False,
) -> None:
    """V2PE against ordinary positions, at the trained length and at 2, 4 and 8 times it.

    Two policies that differ in nothing but positions learn to find a sheet of digits among blank pages or
    frames. Then the one with V2PE is asked with deltas from 1 to 1/256.

        internvl3 train nano-v2pe --base runs/nano/base --page docs/v2pe.md --json
    """
    from .nano.pipeline import Run
    from .nano.v2pe_page import print_v2pe
    from .nano.v2pe_table import run_table

    run = Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature)

    def report() -> dict[str, Any]:
        return run_table(run, base, page, times=[int(factor) for factor in lengths.split(",")])

    finish(said(report), print_v2pe, as_json)


def said(report: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The same, with what can't be used told in a sentence."""

    def told() -> dict[str, Any]:
        try:
            return report()
        except (ValueError, OSError) as error:
            raise EvaluationError(str(error)) from error

    return told
