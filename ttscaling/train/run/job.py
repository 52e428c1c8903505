"""A training job in a folder: from a checkpoint and data to a trained checkpoint, resumable.

The folder holds `job.json` (what was asked for), `log.jsonl` and `tensorboard/` (figures of every step),
`checkpoints/` (states on the way), for preferences `references/`, and in the end `model/`, which the server
loads.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from model.checkpoint.config_file import Layout, layout_of
from ttscaling.records.meta import read_meta
from ttscaling.train.checkpoints.export import export
from ttscaling.train.checkpoints.load import empty_model, load_model, weights_dtype
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.settings.kinds import CriticData, Kind, MpoWeights
from ttscaling.train.settings.recipe import Recipe

from .logs import Logs
from .loop import train
from .reference_pass import compute_references
from .sharding import prepared
from .states import Checkpoints
from .task import make_task


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides what a run gives, and where it goes; and `workers`, which decide neither.

    `model` is the checkpoint to start from, `data` a meta.json with paths relative to `base`. The result is
    written in `layout` (None: that of `model`), in the type of its weights.
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
    save_every: int = 500
    keep: int = 2
    workers: int = 4

    def as_json(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that it goes on from."""
        return {
            "kind": self.kind,
            "model": str(self.model),
            "data": str(self.data),
            "recipe": self.recipe.as_json(),
            **({"critic": asdict(self.critic)} if self.kind == "critic" else {}),
            **({"mpo": asdict(self.mpo)} if self.kind == "mpo" else {}),
        }


def run_job(job: Job, accelerator: Accelerator, *, resume: bool) -> Path:
    """Train and export; returns the folder of the trained checkpoint.

    Args:
        job: what to do.
        accelerator: for the job's precision, as `make_accelerator` gives it.
        resume: go on from the last saved state in the job's folder, if there is one.

    Raises:
        ValueError: something doesn't fit together; the message says what to change.
        OSError: a file can't be read or written.
    """
    asked = checked_job_settings(job, resume=resume)
    set_seed(job.recipe.seed)
    data_sets = read_meta(job.data, base=job.base)
    task = make_task(job.kind, job.model, data_sets, job.recipe, critic=job.critic, mpo=job.mpo)
    model = _start(job.model, accelerator)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:  # only now: a mistyped path takes no folder
        job.output.mkdir(parents=True, exist_ok=True)
        (job.output / "job.json").write_text(json.dumps(asked, indent=2) + "\n")
    module, optimizer = prepared(model, task, accelerator)
    if job.kind == "mpo":
        compute_references(module, task, accelerator, job.output / "references", workers=job.workers)
    checkpoints = Checkpoints(job.output / "checkpoints", every=job.save_every, keep=job.keep)
    log_folder = job.output if accelerator.is_main_process else None
    with Logs(log_folder, title=job.kind, total=job.recipe.steps) as logs:
        train(module, optimizer, task, accelerator, checkpoints, logs, resume=resume, workers=job.workers)
    state = accelerator.get_state_dict(module)
    if accelerator.is_main_process:
        export(
            {name.removeprefix("model."): tensor.cpu() for name, tensor in state.items()},
            model.config,
            job.model,
            job.output / "model",
            layout=job.layout or layout_of(job.model),
            dtype=weights_dtype(job.model),
        )
    accelerator.wait_for_everyone()
    return job.output / "model"


def checked_job_settings(job: Job, *, resume: bool) -> dict[str, Any]:
    """What the output folder's `job.json` is to hold.

    Raises:
        ValueError: it is another job's, or this one's and nobody asked to resume.
    """
    path = job.output / "job.json"
    asked: dict[str, Any] = json.loads(json.dumps(job.as_json()))
    if path.exists():
        if not resume:
            raise ValueError(f"{job.output} holds a run already: add --resume, or name another folder")
        found = json.loads(path.read_text())
        # What a run puts up with may change: it may be what stopped it.
        different = [name for name in _different(found, asked) if name != "recipe.bad_records"]
        if different:
            raise ValueError(
                f"{job.output} holds a run with other settings ({', '.join(different)}): resume with "
                "the same, or name another folder"
            )
    return asked


def _start(checkpoint: Path, accelerator: Accelerator) -> V2PEInternVL:
    """The model; where it will be sharded, only the main process reads weights and sends them out."""
    sharding = accelerator.state.fsdp_plugin if accelerator.is_fsdp2 else None
    if sharding and sharding.cpu_ram_efficient_loading and not accelerator.is_main_process:
        return empty_model(checkpoint)
    return load_model(checkpoint, dtype=torch.float32)


def _different(found: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The names of the settings in which two jobs differ."""
    names = []
    for key in sorted({*found, *asked}):
        ours, theirs = asked.get(key), found.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            names += _different(theirs, ours, f"{prefix}{key}.")
        elif ours != theirs:
            names.append(f"{prefix}{key}")
    return names
