"""The commands `internvl3 train nano` and `nano-*`, which train nano and measure methods on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.console import AsJson, CommandError, run_command

from .mixture import LanguageShares, Levels, Output, Page, search_ratio

PageOption = Annotated[
    Path | None, typer.Option(help="Markdown page into which the table is written. The plot goes beside it.")
]
Processes = Annotated[
    int, typer.Option(help="Number of training processes, one core each. It changes the batch.")
]
Miniature = Annotated[
    bool, typer.Option("--miniature", help="Take only a few steps, to test the command in a minute.")
]


def nano_mpo(
    policy: Annotated[
        Path | None, typer.Option(help="Nano policy to start from. By default the embedded one.")
    ] = None,
    critic: Annotated[
        Path | None, typer.Option(help="Nano critic for Best-of-8. By default the embedded one.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Folder for pairs, runs and figures. Results that it holds are kept.")
    ] = Path("runs/nano-mpo"),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of pairs, data order and sampling.")] = 3,
    rates: Annotated[
        str | None, typer.Option(help="Learning rates to choose from, with commas. By default 1e-4,2e-4.")
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(help="all terms, without X or X alone, with commas; X: preference, quality, generation"),
    ] = None,
    ablation_seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds for each variant but 'all terms'. By default all.")
    ] = None,
    questions: Annotated[int, typer.Option(min=2, help="Number of held-out questions.")] = 600,
    problems: Annotated[
        int, typer.Option(min=1, help="Number of training problems from which pairs are made.")
    ] = 10_000,
    temperature: Annotated[
        float, typer.Option(help="Sampling temperature of the solutions from which pairs are made.")
    ] = 1.3,
    epochs: Annotated[float, typer.Option(help="Number of passes over the pairs.")] = 1,
    page: PageOption = None,
    as_json: AsJson = False,
) -> None:
    """Measure what MPO and each term of its loss are worth on nano.

    The pairs are the nano policy's own solutions on training drawings, right ones preferred to wrong ones.
    Each term is left out once and used alone once. The learning rate is chosen on training drawings. pass@1,
    greedy and Best-of-8 are measured on held-out drawings, before and after, with paired intervals.

        internvl3 train nano-mpo --page docs/results/mpo.md --json
    """
    from ttscaling.train.nano.experiments.mpo.page import print_mpo
    from ttscaling.train.nano.experiments.mpo.run import MpoPlan, embedded, run_plan

    def report() -> dict[str, Any]:
        options: dict[str, Any] = {
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
            **{name: value for name, value in options.items() if value},
        )
        return run_plan(plan, page)

    run_command(with_command_errors(report), print_mpo, as_json)


def nano_v2pe(
    base: Annotated[
        Path | None,
        typer.Option(help="Pre-trained policy with V2PE, base/ of a nano run. By default it is trained too."),
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Folder for policies and figures. Results that it holds are kept.")
    ] = Path("runs/nano-v2pe"),
    questions: Annotated[
        int, typer.Option(min=1, help="Number of held-out questions for each cell of the table.")
    ] = 200,
    lengths: Annotated[
        str, typer.Option(help="Lengths as multiples of the trained length, with commas.")
    ] = "1,2,4,8",
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the order of the data.")] = 1,
    processes: Annotated[
        int, typer.Option(min=1, help="Number of training processes. It changes the batch.")
    ] = 2,
    miniature: Miniature = False,
    page: PageOption = None,
    as_json: AsJson = False,
) -> None:
    """Compare V2PE with ordinary positions, at the trained length and at 2, 4 and 8 times this length.

    Two policies that differ only in their positions learn to find a sheet of digits among blank pages or
    frames. The policy with V2PE is then measured with deltas from 1 to 1/256.

        internvl3 train nano-v2pe --base runs/nano/base --page docs/results/v2pe.md --json
    """
    from ttscaling.train.nano.experiments.v2pe.page import print_v2pe
    from ttscaling.train.nano.experiments.v2pe.run import run_table
    from ttscaling.train.nano.pipeline import Run

    run = Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature)

    def report() -> dict[str, Any]:
        return run_table(run, base, page, times=[int(factor) for factor in lengths.split(",")])

    run_command(with_command_errors(report), print_v2pe, as_json)


def with_command_errors(report: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return `report` with a ValueError or an OSError raised as a CommandError."""

    def checked_report() -> dict[str, Any]:
        try:
            return report()
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error

    return checked_report


def nano(
    directory: Annotated[
        Path, typer.Option(help="Folder for the checkpoints, the rollouts and the model card.")
    ] = Path("runs/nano"),
    seed: Annotated[int, typer.Option(help="Seed of the weights, the data order and the sampling.")] = 1,
    processes: Processes = 2,
    questions: Annotated[
        int, typer.Option(help="Number of held-out questions behind the figures of the model card.")
    ] = 600,
    miniature: Miniature = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip the stages whose output is already there.")
    ] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Put the new checkpoints in place of the embedded ones.")
    ] = False,
) -> None:
    """Train the embedded policy and critic from scratch and measure them through the server.

    The stages are vision warm-up, multimodal pre-training, fine-tuning, Monte-Carlo rollouts and the critic.
    They take about an hour on two cores. The same seed gives the same checkpoints on the same processor.
    """
    from ttscaling.train.nano.pipeline import Run, run_pipeline

    run_pipeline(
        Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature),
        resume=resume,
        install=install,
    )


def nano_critics(
    directory: Annotated[
        Path, typer.Option(help="A run of `train nano`. New critics go into its critics/, old ones stay.")
    ] = Path("runs/nano"),
    output: Annotated[
        Path, typer.Option(help="File of the report, written as .json, .md and .png. Its ending is replaced.")
    ] = Path("runs/nano/critic-ablation.md"),
    labels: Annotated[
        str, typer.Option(help="Labels to compare, with commas: the default names all. value must be one.")
    ] = "value,early-stop,advantage,outcome",
    seed: Annotated[
        int, typer.Option(help="Seed of the weights and of the order of the data, as for `train nano`.")
    ] = 1,
    processes: Processes = 2,
    questions: Annotated[int, typer.Option(min=1, help="Number of held-out questions.")] = 600,
    eval_seed: Annotated[
        int, typer.Option(help="Seed of the questions, the candidates and the bootstrap.")
    ] = 777,
    miniature: Miniature = False,
    as_json: AsJson = False,
) -> None:
    """Compare nano critics by their labels (value, early-stop, advantage, outcome) and by aggregation.

    The critic with value labels is the critic of a run of `train nano`, and the one with outcome labels is
    its ORM. The others are trained from the verifier of the run with as many updates. This takes 20 minutes
    on two cores. All critics choose among the same candidates and score the steps of a VisualProcessBench
    file in DIRECTORY/process-bench. The report is a page with a plot.

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
    seed: Annotated[int, typer.Option(help="Seed of the weights, the data and their order.")] = 1,
    miniature: Miniature = False,
    as_json: AsJson = False,
) -> None:
    """Search the mixture as `internvl3 train ratio` does, on nano and on nano's own data.

    With the default shares the search takes fifteen pre-training runs of less than a minute each.

        internvl3 train nano-ratio --page docs/results/ratio-search.md
    """
    from ttscaling.train.nano.experiments.mixture_data import BUDGET, MINIATURE, write_material

    budget = MINIATURE if miniature else BUDGET
    material = write_material(output / "material", budget, seed=seed)
    result = search_ratio(
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
        typer.echo(json.dumps(result))
