"""The commands `internvl3 train check` and `memory`, which find problems before a run starts."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ttscaling.train.settings.kinds import Kind
from ttscaling.train.settings.published import Size, published

from .launching import exit_with
from .recipe_options import with_overrides


def check(
    meta: Annotated[Path, typer.Argument(help="A meta.json that names the data sets.")],
    base: Annotated[Path, typer.Option(help="Folder that the paths in meta.json are relative to.")] = Path(),
    form: Annotated[
        Literal["chats", "pairs", "judged", "marked"],
        typer.Option(
            "--format",
            help="Format of the records: chats (InternVL), pairs (MMPR), judged (VisualPRM400K-Raw) or "
            "marked (VisualProcessBench).",
        ),
    ] = "chats",
) -> None:
    """Read every record of training data, look for its images and videos, and name each bad record."""
    from ttscaling.records.checking import check_data_set, parser_of
    from ttscaling.records.meta import read_meta

    try:
        parse, data_sets = parser_of(form), read_meta(meta, base=base)
        checked = [check_data_set(data_set, parse) for data_set in data_sets]
    except (ValueError, OSError) as error:
        raise exit_with(error) from error
    for data_set in checked:
        typer.echo(data_set.summary())
    raise typer.Exit(not all(data_set.passed for data_set in checked))


def memory(
    model: Annotated[
        str, typer.Option(help="Checkpoint, a folder or a name on the hub. Only its config.json is read.")
    ],
    kind: Annotated[Kind, typer.Option(help="Kind of training.")] = "sft",
    size: Annotated[Size, typer.Option(help="Published size of the model whose settings are used.")] = "8B",
    devices: Annotated[int, typer.Option(min=1, help="Number of GPUs over which the model is sharded.")] = 8,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in a pack. By default as published.")
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option(min=1, help="Rank of LoRA adapters. By default all weights are trained.")
    ] = None,
    optimizer: Annotated[
        Literal["adamw", "adamw8bit"], typer.Option(help="Optimiser, as for the commands that train.")
    ] = "adamw",
) -> None:
    """Estimate the memory that each GPU needs with the published settings, in GB.

    The peak isn't the sum, because logits and whole gradients don't exist at the same time. The last two
    lines aren't memory of a GPU: the tiles that each process holds on its machine, at most, and a saved
    state. A run keeps as many states as --keep says, and writes one more before it removes the oldest.
    """
    from model.checkpoint.config_file import model_config
    from ttscaling.train.checkpoints.hub import checkpoint_folder
    from ttscaling.train.network.memory import host_bytes, state_bytes
    from ttscaling.train.network.memory import memory as estimate_memory

    try:
        overrides = {"max_tokens": max_tokens, "lora_rank": lora_rank, "optimizer": optimizer}
        recipe = with_overrides(
            published(kind, size), {name: value for name, value in overrides.items() if value is not None}
        )
        config = model_config(checkpoint_folder(model, weights=False))
        estimate = estimate_memory(config, recipe, devices=devices)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    figures = {
        **vars(estimate),
        "peak": estimate.peak,
        "tiles on the host": host_bytes(config, recipe, devices=devices),
        "state on the disk": state_bytes(config, recipe),
    }
    for name, value in figures.items():
        typer.echo(f"{name.replace('_', ' '):20}{value / 1e9:8.1f}")
