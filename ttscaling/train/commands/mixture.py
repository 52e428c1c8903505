"""The command `internvl3 train ratio`, and the search for a pre-training mixture behind it."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ttscaling.train.settings.published import Size, published
from ttscaling.train.settings.recipe import Recipe

from .launching import exit_with, is_main_process
from .recipe_options import with_overrides

Output = Annotated[
    Path,
    typer.Option(
        help="Folder for all runs and the report. If it holds trials already, the search goes on from them."
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(help="File of the report, written as .json, .md and .png. By default OUTPUT/ratio.md."),
]
Levels = Annotated[
    int, typer.Option(min=1, help="Stage 1 tries all shares that are multiples of 1 / LEVELS.")
]
LanguageShares = Annotated[str, typer.Option(help="Shares of language data that stage 2 tries, with commas.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


def ratio(
    model: Annotated[
        str, typer.Option(help="Checkpoint that every trial starts from, a folder or a name on the hub.")
    ],
    data: Annotated[
        Path, typer.Option(help='meta.json whose entries add "modality": "language" or "multimodal".')
    ],
    heldout: Annotated[
        Path,
        typer.Option(help="meta.json of the same form, for the held-out data that losses are measured on."),
    ],
    output: Output,
    base: Annotated[Path, typer.Option(help="Folder that the paths in both files are relative to.")] = Path(),
    page: Page = None,
    levels: Levels = 4,
    language_shares: LanguageShares = "1/8,1/4,3/8,1/2,3/4",
    size: Annotated[Size, typer.Option(help="Published size of the model whose settings are used.")] = "8B",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each trial. By default as published.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Packs in a step. By default as published.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate. By default as published.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens in a pack. By default as published.")
    ] = None,
    max_tiles: Annotated[
        int | None, typer.Option(min=1, help="Most tiles in a pack. By default as published.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16"] | None, typer.Option(help="Precision of the arithmetic. By default bf16.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the order of the data, the deltas and the augmentation.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Search the mixture to pre-train on, in InternVL3's two stages. Each trial is a real training run.

    Stage 1 mixes the data sets of each modality by itself. Stage 2 mixes language with multimodal data and
    trains for as many steps.

        internvl3 train ratio --model OpenGVLab/InternVL3-1B --size 1B --data meta.json \
            --heldout heldout.json --output runs/ratio
    """
    from ttscaling.train.checkpoints.hub import checkpoint_folder

    overrides = {
        "steps": steps,
        "batch": batch,
        "learning_rate": learning_rate,
        "max_tokens": max_tokens,
        "max_tiles": max_tiles,
        "precision": precision,
        "seed": seed,
    }
    try:
        recipe = with_overrides(
            published("pretrain", size),
            {name: value for name, value in overrides.items() if value is not None},
        )
        result = search_ratio(
            checkpoint_folder(model),
            data,
            heldout,
            base=base,
            output=output,
            page=page or output / "ratio.md",
            recipe=recipe,
            levels=levels,
            language_shares=language_shares,
            command=f"internvl3 train ratio --model {model} --data {data} --heldout {heldout}",
        )
    except (ValueError, OSError) as error:
        raise exit_with(error) from error
    if as_json and is_main_process():
        typer.echo(json.dumps(result))


def search_ratio(
    model: Path,
    data: Path,
    heldout: Path,
    *,
    base: Path,
    output: Path,
    page: Path,
    recipe: Recipe,
    levels: int,
    language_shares: str,
    command: str,
    about: str = "",
) -> dict[str, Any]:
    """Search the mixture, write `page` as .json, .md and .png, and return the report.

    Only the main process of a launcher writes.

    Args:
        model: checkpoint folder that every trial starts from.
        data: meta.json of the training data, whose entries name their modality.
        heldout: meta.json of the held-out data, of the same form.
        base: folder that the paths in both are relative to.
        output: folder for the trials.
        page: file of the report; its ending is replaced.
        recipe: settings of each trial.
        levels: stage 1 tries shares that are multiples of 1 / levels.
        language_shares: shares of language that stage 2 tries, as numbers or fractions with commas.
        command: the command line that the page shows.
        about: a sentence for the page that stands before the budget.

    Raises:
        ValueError: the settings or the data don't fit together; the message says what to change.
        OSError: a file can't be read or written.
    """
    from transformers.utils import logging  # this and torch take seconds to import

    from ttscaling.train.mixture_search.page import draw, page_of, report
    from ttscaling.train.mixture_search.search import search
    from ttscaling.train.mixture_search.trials import Trials, read_modalities
    from ttscaling.train.run.sharding import make_accelerator

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    shares = shares_of(language_shares)
    training, data_sets = read_modalities(data, base=base)
    held, heldout_sets = read_modalities(heldout, base=base)
    trials = Trials(model=model, data_sets=training, heldout=held, recipe=recipe, output=output)
    found = search(
        data_sets,
        heldout_sets,
        trials.measure,
        levels=levels,
        language_shares=shares,
    )
    result = report(found, data_sets, model=str(model), recipe=recipe.as_json())
    if not make_accelerator(recipe.precision).is_main_process:
        return result
    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    plot = page.with_suffix(".png")
    draw(found, data_sets, plot)
    budget = f"Each trial: {recipe.steps} steps of {recipe.batch} packs of up to {recipe.max_tokens} tokens."
    about = f"{about} {budget}".strip()
    text = page_of(found, data_sets, plot=plot.name, command=command, about=about)
    page.with_suffix(".md").write_text(text)
    typer.echo(f"report: {page}")
    return result


def shares_of(text: str) -> list[float]:
    """Return the numbers of a text like `1/8,0.25`. Raises ValueError for what isn't a number."""
    try:
        return [float(Fraction(share.strip())) for share in text.split(",")]
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"--language-shares {text!r} can't be read ({error}): write numbers or fractions between 0 and 1 "
            "with commas, like 1/8,0.25"
        ) from error
