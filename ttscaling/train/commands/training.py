"""The commands `internvl3 train pretrain`, `sft`, `critic` and `mpo`, which turn options into a job.

The command of a kind has the options of that kind, the options that all kinds share, and one option for each
field of a recipe. The options of the recipe have no default here, because an option that isn't given keeps
the published value for `--size`.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ttscaling.train.settings.kinds import Export, Kind, MpoWeights
from ttscaling.train.settings.published import Size, published

from .launching import exit_with, idle_gpus, is_main_process, processes_here
from .recipe_options import field_value, recipe_options, with_overrides

Extras = Callable[..., Mapping[str, Any]]


def pretrain() -> Mapping[str, Any]:
    """Pre-train on images and text together, with the loss on all text. Visual tokens are context only.

    The data are InternVL's conversations, with images or with text only. repeat_time in meta.json sets the
    mixture.

        internvl3 train pretrain --model OpenGVLab/InternVL3-1B --data meta.json --output runs/pretrain
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

        internvl3 train mpo --model OpenGVLab/InternVL3-8B-Instruct --data mmpr.json --output runs/mpo
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
        Literal["opengvlab", "transformers"] | None,
        typer.Option(help="Layout of the trained checkpoint. By default that of --model."),
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
    evaluate: Annotated[
        Path | None,
        typer.Option(
            "--eval",
            help="A meta.json of held-out data, of the form of --data. The model is evaluated on them before "
            "the first step, every --eval-every steps and at the end.",
        ),
    ] = None,
    evaluate_every: Annotated[
        int, typer.Option("--eval-every", min=1, help="Number of steps between two evaluations.")
    ] = 500,
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
            heldout=evaluate,
            evaluate_every=evaluate_every,
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


def command_of(kind: Kind, extras: Extras) -> Callable[..., None]:
    """Return the command of a kind, with a signature that lists all options for typer."""
    kind_options = list(inspect.signature(extras, eval_str=True).parameters.values())
    shared_options = [
        parameter
        for parameter in inspect.signature(start, eval_str=True).parameters.values()
        if parameter.name not in ("kind", "recipe", "extras")
    ]
    of_recipe = recipe_options()

    def command(**options: Any) -> None:
        extra_settings = extras(**{parameter.name: options.pop(parameter.name) for parameter in kind_options})
        values = {name: options.pop(name) for name in of_recipe}
        recipe = {name: field_value(name, value) for name, value in values.items() if value is not None}
        start(kind, **options, **extra_settings, recipe=recipe)

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=keyword_only) for p in (*shared_options, *kind_options)] + [
        inspect.Parameter(name, keyword_only, default=None, annotation=annotation)
        for name, annotation in of_recipe.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = extras.__doc__
    return command
