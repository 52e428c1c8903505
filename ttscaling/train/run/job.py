"""Run a training job in a folder, from a checkpoint and data to a trained checkpoint.

The folder holds `job.json` (the settings), `log.jsonl` (the figures of each step), `checkpoints/` (the states
for resuming), `references/` for a preference run, the files of trackers, and in the end `model/`, which the
server loads.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from model.checkpoint.config_file import Layout, layout_of
from ttscaling.records.meta import read_meta
from ttscaling.train.checkpoints.adapter import export_adapter
from ttscaling.train.checkpoints.export import export
from ttscaling.train.checkpoints.load import empty_model, load_model, weights_dtype
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.lora import lora_config, merged
from ttscaling.train.samples.critic_chats import with_system
from ttscaling.train.settings.kinds import CriticData, Export, Kind, MpoWeights
from ttscaling.train.settings.recipe import Recipe

from .disk import writing
from .heldout import Heldout, heldout_tasks
from .logs import Logs
from .loop import train
from .progress_display import ProgressDisplay, RunLength
from .reference_pass import compute_references, showing
from .sharding import prepared
from .states import Checkpoints
from .task import TrainingTask, make_task
from .trackers import Trackers

# Each of these may be the reason why a run stopped, and none of them changes the data.
_MAY_CHANGE = ("recipe.bad_records", "recipe.clip", "recipe.learning_rate")

logger = logging.getLogger("internvl3.train.run")


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings of a training job.

    `model` is the checkpoint to start from, and `data` a meta.json with paths relative to `base`. The trained
    checkpoint is written in `layout` (None means the layout of `model`) and in the data type of the weights
    of `model`. With LoRA, `export` says whether the adapters are merged into the weights or written alone,
    with the names of the layout of `model`. `save_every` and `keep` are those of `Checkpoints`. `workers` is
    the number of threads that prepare packs, on which the result doesn't depend. Without a terminal, the
    progress is shown every `log_every` steps. `track` names trackers of accelerate. `heldout` is a meta.json
    like `data`, with data that the model is evaluated on before the first step, every `evaluate_every` steps
    and at the end.
    """

    kind: Kind
    model: Path
    data: Path
    base: Path
    output: Path
    recipe: Recipe
    critic: CriticData = field(default_factory=CriticData)
    mpo: MpoWeights = field(default_factory=MpoWeights)
    layout: Layout | None = None
    export: Export = "merged"
    save_every: int = 500
    keep: int = 2
    workers: int = 4
    log_every: int = 10
    track: Sequence[str] = ()
    heldout: Path | None = None
    evaluate_every: int = 500

    def as_json(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share with the run that it continues, as JSON."""
        return {
            "kind": self.kind,
            "model": str(self.model),
            "data": str(self.data),
            "base": str(self.base),
            "recipe": self.recipe.as_json(),
            **({"critic": asdict(self.critic)} if self.kind == "critic" else {}),
            **({"mpo": asdict(self.mpo)} if self.kind == "mpo" else {}),
        }


def run_job(job: Job, accelerator: Accelerator, *, resume: bool) -> Path:
    """Train a model, export it, and return the folder of the trained checkpoint.

    Args:
        job: the settings.
        accelerator: what `make_accelerator` returns for the precision of the job.
        resume: continue from the last saved state in the job's folder, if there is one.

    Raises:
        ValueError: the settings or the data don't fit together; the message says what to change.
        OSError: a file can't be read or written.
    """
    settings = checked_job_settings(job, resume=resume)
    if job.export == "adapter" and job.recipe.lora_rank is None:
        raise ValueError("there is no adapter to export: set --lora-rank, or leave --export out")
    set_seed(job.recipe.seed)
    data_sets = read_meta(job.data, base=job.base)
    critic = with_system(job.critic, data_sets)
    make = partial(make_task, job.kind, job.model, critic=critic, mpo=job.mpo)
    task = make(data_sets, job.recipe)
    if job.export == "adapter" and critic.system is not None:
        raise ValueError(
            "an adapter can't hold the critic's system message: leave --export out, so that it is merged"
        )
    heldout_sets = read_meta(job.heldout, base=job.base) if job.heldout else ()
    held = heldout_tasks(heldout_sets, job.recipe, make, num_processes=accelerator.num_processes)
    model = start_model(job.model, accelerator, job.recipe)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:  # not earlier, so that a mistyped path leaves no folder behind
        job.output.mkdir(parents=True, exist_ok=True)
        write_job_settings(job.output / "job.json", settings)
    module, optimizer = prepared(model, task, accelerator)
    if job.kind == "mpo":
        _compute_references(module, task, accelerator, job)
    heldout = Heldout(held, module, accelerator, every=job.evaluate_every, workers=job.workers)
    heldout.compute_references(job.output / "heldout-references")
    checkpoints = Checkpoints(job.output / "checkpoints", every=job.save_every, keep=job.keep)
    with logs_of(job, task, accelerator, settings) as logs:

        def evaluate(step: int, last: bool) -> None:
            if heldout.tasks and heldout.due(step) != last:
                logs.note(f"step {step}  evaluating {heldout.num_records} held-out records")
                logs.heldout(step, heldout.figures(task.objective.state()))

        train(
            module,
            optimizer,
            task,
            accelerator,
            checkpoints,
            logs,
            resume=resume,
            workers=job.workers,
            evaluate=evaluate,
        )
    state = accelerator.get_state_dict(module)
    if accelerator.is_main_process:
        tensors = {name.removeprefix("model."): tensor.cpu() for name, tensor in state.items()}
        advice = "run the command again with --resume, which writes the trained checkpoint only"
        with writing("the trained checkpoint", job.output, advice):
            _export(job, tensors, model, system=critic.system if job.kind == "critic" else None)
    accelerator.wait_for_everyone()
    return job.output / "model"


def _compute_references(module: Any, task: TrainingTask, accelerator: Accelerator, job: Job) -> None:
    display = ProgressDisplay(title="references", length=_length(job, task), every=job.log_every)
    folder = job.output / "references"
    if not accelerator.is_main_process:
        compute_references(module, task, accelerator, folder, workers=job.workers)
        return
    with display:
        compute_references(module, task, accelerator, folder, workers=job.workers, on_step=showing(display))


def _length(job: Job, task: TrainingTask) -> RunLength:
    return RunLength(steps=job.recipe.steps, samples=task.draws)


def logs_of(job: Job, task: TrainingTask, accelerator: Accelerator, settings: Mapping[str, Any]) -> Logs:
    """Return the logs of a job, which write and show nothing on processes other than the main one."""
    display = ProgressDisplay(title=job.kind, length=_length(job, task), every=job.log_every)
    folder = job.output if accelerator.is_main_process else None
    return Logs(folder, display, trackers=Trackers(accelerator, job.track, job.output, settings))


def checked_job_settings(job: Job, *, resume: bool) -> dict[str, Any]:
    """Return the content for `job.json` in the output folder.

    Raises:
        ValueError: the folder holds a job with other settings, or it holds this job and `resume` is false.
    """
    path = job.output / "job.json"
    settings: dict[str, Any] = json.loads(json.dumps(job.as_json()))
    if path.exists():
        if not resume:
            raise ValueError(f"{job.output} holds a run already: add --resume or name another folder")
        earlier = json.loads(path.read_text())
        different = [name for name in _different(earlier, settings) if name not in _MAY_CHANGE]
        if different:
            raise ValueError(
                f"{job.output} holds a run with other settings ({', '.join(different)}): resume with the "
                "settings of that run or name another folder"
            )
    return settings


def write_job_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a run, with a warning for each one that a resumed run changes."""
    earlier = json.loads(path.read_text()) if path.exists() else settings
    for name in _different(earlier, settings):
        key = name.removeprefix("recipe.")
        old, new = earlier["recipe"][key], settings["recipe"][key]
        logger.warning("the run goes on with another %s: %s in place of %s", key, new, old)
    path.write_text(json.dumps(settings, indent=2) + "\n")


def start_model(checkpoint: Path, accelerator: Accelerator, recipe: Recipe) -> V2PEInternVL:
    """Return the model to start from.

    If FSDP will shard it, only the main process reads the weights, and FSDP sends them to the others. The
    frozen weights under LoRA adapters are never updated, so bf16 is enough for a run in bf16. FSDP needs one
    data type for all weights of a unit, so it gets them in fp32.
    """
    sharding = accelerator.state.fsdp_plugin if accelerator.is_fsdp2 else None
    if sharding and sharding.cpu_ram_efficient_loading and not accelerator.is_main_process:
        return empty_model(checkpoint)
    frozen_in_bf16 = recipe.lora_rank is not None and recipe.precision == "bf16" and not sharding
    return load_model(checkpoint, dtype=torch.bfloat16 if frozen_in_bf16 else torch.float32)


def _export(
    job: Job, tensors: Mapping[str, torch.Tensor], model: V2PEInternVL, *, system: str | None
) -> None:
    if job.export == "adapter":
        export_adapter(tensors, lora_config(model, job.recipe), job.model, job.output / "model")
        return
    export(
        tensors if job.recipe.lora_rank is None else merged(tensors, job.recipe),
        model.config,
        job.model,
        job.output / "model",
        layout=job.layout or layout_of(job.model),
        dtype=weights_dtype(job.model),
        system=system,
    )


def _different(earlier: Mapping[str, Any], settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of the settings in which two jobs differ, like `recipe.batch`."""
    names = []
    for key in sorted({*earlier, *settings}):
        old, new = earlier.get(key), settings.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            names += _different(old, new, f"{prefix}{key}.")
        elif old != new:
            names.append(f"{prefix}{key}")
    return names
