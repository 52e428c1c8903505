"""TODO: what this file is about."""

from pathlib import Path
from typing import Annotated

import typer

from ttscaling.train.settings.kinds import Kind
from ttscaling.train.settings.published import Size, published

from .training import with_overrides


def check(
    meta: Annotated[Path, typer.Argument(help="A meta.json that names the data sets.")],
    base: Annotated[Path, typer.Option(help="What the paths in it are relative to.")] = Path(),
    form: Annotated[
        str, typer.Option("--format", help="chats, pairs (MMPR), judged (VisualPRM400K), marked.")
    ] = "chats",
) -> None:
    """Read every record of training data, follow the paths of its images, and name what is wrong."""
    from ttscaling.records.checking import check_data_set, parser_of
    from ttscaling.records.meta import read_meta

    try:
        parse, data_sets = parser_of(form), read_meta(meta, base=base)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    checked = [check_data_set(data_set, parse) for data_set in data_sets]
    for found in checked:
        typer.echo(found.summary())
    raise typer.Exit(not all(found.passed for found in checked))


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
    from model.checkpoint.config_file import model_config
    from ttscaling.train.network.memory import memory as needed

    try:
        recipe = with_overrides(
            published(kind, size), {} if max_tokens is None else {"max_tokens": max_tokens}
        )
        estimate = needed(model_config(model), recipe, devices=devices)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    for name, value in {**vars(estimate), "total": estimate.total}.items():
        typer.echo(f"{name:12}{value / 1e9:8.1f}")
