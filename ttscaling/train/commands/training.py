"""`internvl3 train pretrain|sft|critic|mpo`: options to a job.

A kind's command has its own options, those that all kinds share, and one for each field of a recipe. The last
have no default here: what isn't given is the published value for `--size`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from model.checkpoint.config_file import Layout
from ttscaling.train.settings.kinds import CriticData, Form, History, Kind, Labelling, MpoWeights
from ttscaling.train.settings.published import Size, published
from ttscaling.train.settings.recipe import Recipe

Extras = Callable[..., Mapping[str, Any]]


def pretrain() -> Mapping[str, Any]:
    """Native multimodal pre-training: the loss is on all text, visual tokens are context.

    Data are InternVL's conversations, text-only ones among them; repeat_time in meta.json sets the mixture.

        internvl3 train pretrain --model InternVL3-1B --data meta.json --output runs/pretrain
    """
    return {}


def sft() -> Mapping[str, Any]:
    """Fine-tune on InternVL's conversations: the loss is on what the assistant says.

        internvl3 train sft --model InternVL3-1B --data meta.json --output runs/sft --steps 1000 --batch 16

    On several GPUs, sharded:

        accelerate launch --config_file recipes/fsdp2.yaml -m ttscaling.train sft --model ...
    """
    return {}


def critic(
    form: Annotated[
        Form, typer.Option("--format", help="judged (VisualPRM400K-Raw) or chats (VisualPRM400K).")
    ] = "judged",
    labelling: Annotated[Labelling, typer.Option(help="What a step's Monte-Carlo score becomes.")] = "value",
    threshold: Annotated[float, typer.Option(help="A step is + above this share of right ends.")] = 0.0,
    early_stop: Annotated[bool, typer.Option("--early-stop", help="Nothing after the first -.")] = False,
    history: Annotated[History, typer.Option(help="What earlier judgements show: + or the labels.")] = "plus",
) -> Mapping[str, Any]:
    """Train a process reward critic as VisualPRM: the loss is on its judgement of each step.

    internvl3 train critic --model InternVL3-8B --data meta.json --output runs/critic --epochs 1
    """
    return {
        "critic": CriticData(
            form=form, labelling=labelling, threshold=threshold, early_stop=early_stop, history=history
        )
    }


def mpo(
    preference: Annotated[float, typer.Option(help="Weight of DPO.")] = MpoWeights.preference,
    quality: Annotated[float, typer.Option(help="Weight of BCO.")] = MpoWeights.quality,
    generation: Annotated[float, typer.Option(help="Weight of the chosen response's loss.")] = (
        MpoWeights.generation
    ),
    beta: Annotated[float, typer.Option(help="How much a log-ratio counts as reward.")] = MpoWeights.beta,
) -> Mapping[str, Any]:
    """Mixed preference optimisation on MMPR's pairs.

    The reference's log-probabilities are computed first: one pass over the data.

        internvl3 train mpo --model runs/sft/model --data mmpr.json --output runs/mpo --epochs 1
    """
    return {
        "mpo": MpoWeights(preference=preference, quality=quality, generation=generation, beta=beta),
    }


def start(
    kind: Kind,
    *,
    model: Annotated[Path, typer.Option(help="Checkpoint folder to start from, of either layout.")],
    data: Annotated[Path, typer.Option(help="A meta.json that names the data sets.")],
    output: Annotated[Path, typer.Option(help="The run's folder; what it gives is in its model/.")],
    base: Annotated[Path, typer.Option(help="What the paths in meta.json are relative to.")] = Path(),
    size: Annotated[Size, typer.Option(help="Published size whose settings are taken.")] = "8B",
    layout: Annotated[
        Layout | None, typer.Option(help="Of the trained checkpoint.  [default: as --model]")
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two saved states.")] = 500,
    keep: Annotated[int, typer.Option(min=1, help="How many saved states are kept.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Threads of a process that prepare packs.")] = 4,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last saved state, if there is one.")
    ] = False,
    recipe: Mapping[str, Any],
    **extras: Any,
) -> None:
    """Runs a job of this kind; what is wrong with it is said in a sentence."""
    from transformers.utils import logging  # this and torch take seconds to import

    from ttscaling.train.run.job import Job, run_job
    from ttscaling.train.run.sharding import make_accelerator

    logging.set_verbosity_error()  # it warns of configs and shows bars that say nothing here
    logging.disable_progress_bar()

    try:
        job = Job(
            kind=kind,
            model=model,
            data=data,
            base=base,
            output=output,
            recipe=with_overrides(published(kind, size), recipe),
            layout=layout,
            save_every=save_every,
            keep=keep,
            workers=workers,
            **extras,
        )
        trained = run_job(job, make_accelerator(job.recipe.precision), resume=resume)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"trained: {trained}")


def with_overrides(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields replaced. Steps take the place of epochs, and epochs that of steps.

    Raises:
        ValueError: as `Recipe`.
    """
    given = dict(given)
    if "steps" in given:
        given.setdefault("epochs", None)
    elif "epochs" in given:
        given["steps"] = None
    return replace(recipe, **given)


def command_of(kind: Kind, extras: Extras) -> Callable[..., None]:
    """The command for a kind, its options spelt out for typer."""
    own = list(inspect.signature(extras, eval_str=True).parameters.values())
    shared = [
        parameter
        for parameter in inspect.signature(start, eval_str=True).parameters.values()
        if parameter.name not in ("kind", "recipe", "extras")
    ]
    settings = _recipe_options()

    def command(**given: Any) -> None:
        own_options = {parameter.name: given.pop(parameter.name) for parameter in own}
        chosen = {name: given.pop(name) for name in settings}
        recipe = {name: _parsed(name, value) for name, value in chosen.items() if value is not None}
        start(kind, **given, **extras(**own_options), recipe=recipe)

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=keyword_only) for p in (*shared, *own)] + [
        inspect.Parameter(name, keyword_only, default=None, annotation=annotation)
        for name, annotation in settings.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = extras.__doc__
    return command


def _recipe_options() -> Mapping[str, Any]:
    options = {}
    for name, hint in get_type_hints(Recipe, include_extras=True).items():
        kind, text = get_args(hint)
        option = typer.Option(help=text, rich_help_panel="Recipe")
        options[name] = Annotated[_option_type(kind) | None, option]
    return options


def _option_type(kind: Any) -> Any:
    """Lists are given as text."""
    return str if get_origin(kind) is tuple else kind


def _parsed(name: str, value: Any) -> Any:
    """Lists come as text, with commas; deltas as numbers or fractions."""
    if name == "parts":
        return tuple(part.strip() for part in value.split(","))
    return _deltas(value.split(",")) if name == "deltas" else value


def _deltas(texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(Fraction(text.strip())) for text in texts)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"deltas are numbers like 1,1/4,0.0625 ({error})") from error
