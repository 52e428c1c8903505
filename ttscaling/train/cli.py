"""`internvl3 train`: the commands that make checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from ttscaling.evaluation.asking import AsJson, finish

from .commands import changed, command_of, critic, mpo, pretrain, sft
from .kinds import Kind
from .nano_commands import nano_mpo, nano_v2pe
from .ratio_command import nano_ratio, ratio
from .recipes import Size, published
from .rollouts_command import rollouts

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train policies and critics.")


@app.callback()
def _group() -> None:
    """Train policies and critics."""


@app.command()
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
    from .nano.pipeline import Run, run_pipeline

    run_pipeline(
        Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature),
        resume=resume,
        install=install,
    )


@app.command("nano-critics")
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

        internvl3 train nano-critics --output docs/critic-ablation.md
    """
    from .nano.ablation import ablate
    from .nano.pipeline import Run

    run = Run(directory, seed=seed, processes=processes, questions=questions, miniature=miniature)
    finish(
        lambda: ablate(run, output, labels=labels.split(","), seed=eval_seed),
        lambda report, console: console.print(f"report: {output}"),
        as_json,
    )


@app.command()
def check(
    meta: Annotated[Path, typer.Argument(help="A meta.json that names the data sets.")],
    base: Annotated[Path, typer.Option(help="What the paths in it are relative to.")] = Path(),
    form: Annotated[
        str, typer.Option("--format", help="chats, pairs (MMPR), judged (VisualPRM400K), marked.")
    ] = "chats",
) -> None:
    """Read every record of training data, follow the paths of its images, and name what is wrong."""
    from .data.checking import check_data_set, parser_of
    from .data.meta import read_meta

    try:
        parse, data_sets = parser_of(form), read_meta(meta, base=base)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    checked = [check_data_set(data_set, parse) for data_set in data_sets]
    for found in checked:
        typer.echo(found.summary())
    raise typer.Exit(not all(found.sound for found in checked))


@app.command()
def memory(
    model: Annotated[Path, typer.Option(help="Checkpoint folder; of it only config.json is read.")],
    kind: Annotated[Kind, typer.Option(help="What is trained.")] = "sft",
    size: Annotated[Size, typer.Option(help="Published size whose settings are taken.")] = "8B",
    devices: Annotated[int, typer.Option(min=1, help="GPUs over which the model is sharded.")] = 8,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a pack.  [default: as published]")
    ] = None,
) -> None:
    """How much memory each GPU needs for the published settings, in GB, before anything is started."""
    from .description import model_config
    from .memory import memory as needed

    try:
        recipe = changed(published(kind, size), {} if max_tokens is None else {"max_tokens": max_tokens})
        estimate = needed(model_config(model), recipe, devices=devices)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    for name, value in {**vars(estimate), "total": estimate.total}.items():
        typer.echo(f"{name:12}{value / 1e9:8.1f}")


app.command()(rollouts)
app.command("pretrain")(command_of("pretrain", pretrain))
app.command("sft")(command_of("sft", sft))
app.command("critic")(command_of("critic", critic))
app.command("mpo")(command_of("mpo", mpo))
app.command()(ratio)
app.command("nano-ratio")(nano_ratio)
app.command("nano-mpo")(nano_mpo)
app.command("nano-v2pe")(nano_v2pe)
