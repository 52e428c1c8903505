"""`internvl3 train nano-mpo` and `nano-v2pe`: what two parts of the recipe are worth, measured on nano."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.console import AsJson, CommandError, run_command

from .mixture import LanguageShares, Levels, Output, Page, search_ratio

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

        internvl3 train nano-mpo --page docs/results/mpo.md --json
    """
    from ttscaling.train.nano.experiments.mpo.page import print_mpo
    from ttscaling.train.nano.experiments.mpo.run import MpoPlan, embedded, run_plan

    def report() -> dict[str, Any]:
        given: dict[str, Any] = {
            "rates": rates and tuple(float(rate) for rate in rates.split(",")),
            "variants": variants and tuple(name.strip() for name in variants.split(",")),
        }
        plan = MpoPlan(
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

    run_command(said(report), print_mpo, as_json)


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

        internvl3 train nano-v2pe --base runs/nano/base --page docs/results/v2pe.md --json
    """
    from ttscaling.train.nano.experiments.v2pe.page import print_v2pe
    from ttscaling.train.nano.experiments.v2pe.run import run_table
    from ttscaling.train.nano.pipeline import Run

    run = Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature)

    def report() -> dict[str, Any]:
        return run_table(run, base, page, times=[int(factor) for factor in lengths.split(",")])

    run_command(said(report), print_v2pe, as_json)


def said(report: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The same, with what can't be used told in a sentence."""

    def told() -> dict[str, Any]:
        try:
            return report()
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error

    return told


def nano(
    directory: Annotated[
        Path, typer.Option(help="Where the checkpoints, rollouts and the model card go.")
    ] = Path("runs/nano"),
    seed: Annotated[int, typer.Option(help="Of weights, data order and sampling.")] = 1,
    processes: Annotated[int, typer.Option(help="Training processes, one core each; changes the batch.")] = 2,
    questions: Annotated[int, typer.Option(help="Held-out questions for the model card's figures.")] = 600,
    miniature: Annotated[
        bool, typer.Option("--miniature", help="A few steps of everything: tests the chain in a minute.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the stages whose output is already there.")
    ] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Put the result in place of the shipped checkpoints.")
    ] = False,
) -> None:
    """Train the embedded policy and critic from scratch and measure them through the server.

    Vision warm-up, native multimodal pre-training, fine-tuning, Monte-Carlo rollouts, critic: about an hour
    on two cores. The seed decides everything but what differs between processors.
    """
    from ttscaling.train.nano.pipeline import Run, run_pipeline

    run_pipeline(
        Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature),
        resume=resume,
        install=install,
    )


def nano_critics(
    directory: Annotated[
        Path, typer.Option(help="A run of `train nano`; critics go into its critics/, those there are kept.")
    ] = Path("runs/nano"),
    output: Annotated[
        Path, typer.Option(help="Where the report goes, as .json, .md and .png; the ending is replaced.")
    ] = Path("runs/nano/critic-ablation.md"),
    labels: Annotated[
        str, typer.Option(help="Which are compared, with commas; value must be one.")
    ] = "value,early-stop,advantage,outcome",
    seed: Annotated[int, typer.Option(help="Of weights and data order, as for `train nano`.")] = 1,
    processes: Annotated[int, typer.Option(help="Training processes, one core each; changes the batch.")] = 2,
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions.")] = 600,
    eval_seed: Annotated[int, typer.Option(help="Of questions, candidates and the bootstrap.")] = 777,
    miniature: Annotated[bool, typer.Option("--miniature", help="A few steps: tests the command.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare nano critics by labels (value, with early stop, advantage, outcome) and by aggregation.

    Value is the critic of a run of `train nano`, outcome its ORM; the others are trained from the run's
    verifier, each for as long as those, 20 minutes on two cores. All choose among the same candidates and
    judge the steps of a VisualProcessBench file (in DIRECTORY/process-bench). Writes a page with a plot.

        internvl3 train nano-critics --output docs/results/critic-ablation.md
    """
    from ttscaling.train.nano.experiments.critic_labels.run import ablate
    from ttscaling.train.nano.pipeline import Run

    run = Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature)
    run_command(
        lambda: ablate(run, output, labels=labels.split(","), seed=eval_seed),
        lambda report, console: console.print(f"report: {output}"),
        as_json,
    )


def nano_ratio(
    output: Output = Path("runs/nano-ratio"),
    page: Page = None,
    levels: Levels = 4,
    language_shares: LanguageShares = "1/8,1/4,3/8,1/2,3/4",
    seed: Annotated[int, typer.Option(help="Of weights, data and their order.")] = 1,
    miniature: Annotated[bool, typer.Option("--miniature", help="A few steps: tests the command.")] = False,
    as_json: AsJson = False,
) -> None:
    """The same search on nano: its own data and vision path, fifteen pre-trainings of under a minute.

    internvl3 train nano-ratio --page docs/results/ratio-search.md
    """
    from ttscaling.train.nano.experiments.mixture_data import BUDGET, MINIATURE, write_material

    budget = MINIATURE if miniature else BUDGET
    material = write_material(output / "material", budget, seed=seed)
    found = search_ratio(
        material.model,
        material.data,
        material.heldout,
        base=Path(),
        output=output,
        page=page or output / "ratio.md",
        recipe=budget.recipe(seed),
        levels=levels,
        language_shares=language_shares,
        command="internvl3 train nano-ratio"
        f" --levels {levels} --language-shares {language_shares} --seed {seed}",
        about=budget.about,
    )
    if as_json:
        typer.echo(json.dumps(found))
