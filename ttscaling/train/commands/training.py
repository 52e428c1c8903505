"""The commands `internvl3 train pretrain`, `sft`, `critic` and `mpo`, which turn options into a job.

The command of a kind has the options of that kind, the options that all kinds share, and one option for each
field of a recipe. The options of the recipe have no default here, because an option that isn't given keeps
the published value for `--size`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from model.checkpoint.config_file import Layout
from ttscaling.train.settings.kinds import (
    Export,
    Kind,
    MpoWeights,
)
from ttscaling.train.settings.published import Size, published
from ttscaling.train.settings.recipe import Recipe

from .launching import exit_with, idle_gpus, is_main_process, processes_here

Extras = Callable[..., Mapping[str, Any]]


def pretrain() -> Mapping[str, Any]:
    """Pre-train on images and text together, with the loss on all text. Visual tokens are context only.

    The data are InternVL's conversations, with images or with text only. repeat_time in meta.json sets the
    mixture.

        internvl3 train pretrain --model InternVL3-1B --data meta.json --output runs/pretrain
    """
    return {}


def sft() -> Mapping[str, Any]:
    """Fine-tune on InternVL's conversations, with the loss on the assistant's text.

    The published settings are those for a released checkpoint. The vision tower is frozen.

        internvl3 train sft --model OpenGVLab/InternVL3-1B --size 1B --data meta.json --output runs/sft

    To shard the run over several GPUs (recipes/fsdp2.yaml is in the repository of internvl3-serving):

        accelerate launch --config_file recipes/fsdp2.yaml --num_processes 8 -m ttscaling.train sft ...
    """
    return {}


def mpo(
    preference: Annotated[
        float, typer.Option(help="Weight of the preference term, DPO.")
    ] = MpoWeights.preference,
    quality: Annotated[float, typer.Option(help="Weight of the quality term, BCO.")] = MpoWeights.quality,
    generation: Annotated[
        float, typer.Option(help="Weight of the generation term, the loss of the chosen response.")
    ] = MpoWeights.generation,
    beta: Annotated[float, typer.Option(help="Factor from a log-ratio to a reward.")] = MpoWeights.beta,
) -> Mapping[str, Any]:
    """Train a policy by mixed preference optimisation on MMPR's pairs.

    First one pass over the data computes the log-probabilities of the reference model.

        internvl3 train mpo --model InternVL3-8B-Instruct --data mmpr.json --output runs/mpo
    """
    return {
        "mpo": MpoWeights(preference=preference, quality=quality, generation=generation, beta=beta),
    }


def start(
    kind: Kind,
    *,
    model: Annotated[
        str, typer.Option(help="Checkpoint to start from, a folder in either layout or a name on the hub.")
    ],
    data: Annotated[Path, typer.Option(help="A meta.json that names the data sets.")],
    output: Annotated[Path, typer.Option(help="Folder of the run. The trained checkpoint is in its model/.")],
    base: Annotated[Path, typer.Option(help="Folder that the paths in meta.json are relative to.")] = Path(),
    size: Annotated[
        Size, typer.Option(help="Published size of the model. It sets the defaults of the recipe.")
    ] = "8B",
    layout: Annotated[
        Layout | None, typer.Option(help="Layout of the trained checkpoint. By default that of --model.")
    ] = None,
    export: Annotated[
        Export,
        typer.Option(help="With --lora-rank: merge the adapters into the weights, or write them alone."),
    ] = "merged",
    save_every: Annotated[int, typer.Option(min=1, help="Number of steps between two saved states.")] = 500,
    keep: Annotated[int, typer.Option(min=1, help="Number of saved states to keep.")] = 2,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of threads in each process that prepare packs.")
    ] = 4,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last saved state, if there is one.")
    ] = False,
    log_every: Annotated[
        int, typer.Option(min=1, help="Without a terminal, number of steps between two lines of progress.")
    ] = 10,
    track: Annotated[
        str,
        typer.Option(help="Trackers that get the figures too, with commas, like tensorboard,wandb."),
    ] = "",
    recipe: Mapping[str, Any],
    **extras: Any,
) -> None:
    """Run a training job. An error ends the command with status 1 and a message without a traceback."""
    import torch  # this and transformers take seconds to import
    from transformers.utils import logging

    from ttscaling.train.checkpoints.hub import checkpoint_folder
    from ttscaling.train.run.job import Job, run_job
    from ttscaling.train.run.sharding import make_accelerator
    from ttscaling.train.run.trackers import check_trackers

    logging.set_verbosity_error()  # its warnings and progress bars tell a user nothing here
    logging.disable_progress_bar()

    trackers = [name.strip() for name in track.split(",") if name.strip()]
    try:
        check_trackers(trackers)
        job = Job(
            kind=kind,
            model=checkpoint_folder(model),
            data=data,
            base=base,
            output=output,
            recipe=with_overrides(published(kind, size), recipe),
            layout=layout,
            export=export,
            save_every=save_every,
            keep=keep,
            workers=workers,
            log_every=log_every,
            track=trackers,
            **extras,
        )
        accelerator = make_accelerator(job.recipe.precision)
        processes = processes_here(accelerator.num_processes)
        warning = idle_gpus(kind, gpus=torch.cuda.device_count(), processes=processes)
        if warning and is_main_process():
            typer.echo(warning, err=True)
        trained = run_job(job, accelerator, resume=resume)
    except (ValueError, OSError) as error:
        raise exit_with(error) from error
    if is_main_process():
        typer.echo(f"trained: {trained}")


def with_overrides(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields replaced. `steps` alone removes `epochs`, and the reverse.

    With `lora_rank` the parts are the language model alone, unless others are named.

    Raises:
        ValueError: a setting is out of range, or both `steps` and `epochs` are given.
    """
    fields = dict(overrides)
    if "steps" in fields:
        fields.setdefault("epochs", None)
    elif "epochs" in fields:
        fields["steps"] = None
    if fields.get("lora_rank") is not None:
        fields.setdefault("parts", ("language",))
    return replace(recipe, **fields)


def command_of(kind: Kind, extras: Extras) -> Callable[..., None]:
    """Return the command of a kind, with a signature that lists all options for typer."""
    kind_options = list(inspect.signature(extras, eval_str=True).parameters.values())
    shared_options = [
        parameter
        for parameter in inspect.signature(start, eval_str=True).parameters.values()
        if parameter.name not in ("kind", "recipe", "extras")
    ]
    recipe_options = _recipe_options()

    def command(**options: Any) -> None:
        extra_settings = extras(**{parameter.name: options.pop(parameter.name) for parameter in kind_options})
        values = {name: options.pop(name) for name in recipe_options}
        recipe = {name: _parsed(name, value) for name, value in values.items() if value is not None}
        start(kind, **options, **extra_settings, recipe=recipe)

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=keyword_only) for p in (*shared_options, *kind_options)] + [
        inspect.Parameter(name, keyword_only, default=None, annotation=annotation)
        for name, annotation in recipe_options.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = extras.__doc__
    return command


def _recipe_options() -> Mapping[str, Any]:
    options = {}
    for name, hint in get_type_hints(Recipe, include_extras=True).items():
        field_type, text = get_args(hint)
        option = typer.Option(help=text, rich_help_panel="Recipe")
        options[name] = Annotated[_option_type(field_type) | None, option]
    return options


def _option_type(field_type: Any) -> Any:
    """Return the option's type, which is text for a list."""
    return str if get_origin(field_type) is tuple else field_type


def _parsed(name: str, value: Any) -> Any:
    """Return an option's value as the field of a recipe, which splits lists at their commas."""
    if name == "parts":
        return tuple(part.strip() for part in value.split(","))
    return _deltas(value.split(",")) if name == "deltas" else value


def _deltas(texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(Fraction(text.strip())) for text in texts)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(
            f"the deltas can't be read ({error}): write numbers or fractions with commas, like 1,1/4,0.0625"
        ) from error
