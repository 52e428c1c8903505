"""`internvl3 train ratio` and `nano-ratio`: the two-stage search for a pre-training mixture, as commands."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.train.settings.published import Size, published
from ttscaling.train.settings.recipe import Recipe

from .training import with_overrides

Output = Annotated[Path, typer.Option(help="Folder for all runs and the report. The same again: goes on.")]
Page = Annotated[
    Path | None,
    typer.Option(help="Where the report goes, as .json, .md and .png.  [default: OUTPUT/ratio.md]"),
]
Levels = Annotated[int, typer.Option(min=1, help="Stage 1 tries shares that are multiples of 1 / LEVELS.")]
LanguageShares = Annotated[str, typer.Option(help="Shares of language that stage 2 tries.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


def ratio(
    model: Annotated[Path, typer.Option(help="Checkpoint folder that every trial starts from.")],
    data: Annotated[
        Path, typer.Option(help='meta.json whose entries add "modality": "language" or "multimodal".')
    ],
    heldout: Annotated[Path, typer.Option(help="The same of what losses are measured on.")],
    output: Output,
    base: Annotated[Path, typer.Option(help="What the paths in both are relative to.")] = Path(),
    page: Page = None,
    levels: Levels = 4,
    language_shares: LanguageShares = "1/8,1/4,3/8,1/2,3/4",
    size: Annotated[Size, typer.Option(help="Published size whose settings are taken.")] = "8B",
    steps: Annotated[int | None, typer.Option(min=1, help="Of each trial: the budget.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Packs of a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of a pack.")] = None,
    max_tiles: Annotated[int | None, typer.Option(min=1, help="Most tiles of a pack.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.")] = None,
    seed: Annotated[int, typer.Option(help="Of data order, deltas and augmentation.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Search the mixture to pre-train on, in InternVL3's two stages, each trial with the real trainer.

    Stage 1 mixes the data sets of each modality alone, stage 2 language with multimodal at the same budget.

        internvl3 train ratio --model InternVL3-1B --data meta.json --heldout heldout.json --output runs/ratio
    """
    given = {
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
            published("pretrain", size), {name: value for name, value in given.items() if value is not None}
        )
        found = search_ratio(
            model,
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
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(found))


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
    """Searches, writes PAGE as .json, .md and .png, and returns the report.

    Raises:
        ValueError: the settings or the data don't fit; the message says what to change.
        OSError: a file can't be read or written.
    """
    from transformers.utils import logging  # this and torch take seconds to import

    from ttscaling.train.mixture_search.page import draw, page_of, report
    from ttscaling.train.mixture_search.search import search
    from ttscaling.train.mixture_search.trials import Trials, read_modalities
    from ttscaling.train.run.sharding import make_accelerator

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    training, data_sets = read_modalities(data, base=base)
    held, heldout_sets = read_modalities(heldout, base=base)
    trials = Trials(model=model, data_sets=training, heldout=held, recipe=recipe, output=output)
    found = search(
        data_sets,
        heldout_sets,
        trials.measure,
        levels=levels,
        language_shares=[float(Fraction(share.strip())) for share in language_shares.split(",")],
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
