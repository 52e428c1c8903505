"""Try mixtures by pre-training runs, each in a folder of its own that is kept and resumed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from ttscaling.records.jsonl import LineFile
from ttscaling.records.meta import DataSet, read_meta, write_meta
from ttscaling.train.run.heldout import Heldout, heldout_tasks
from ttscaling.train.run.job import Job, run_job, start_model
from ttscaling.train.run.sharding import make_accelerator, prepared
from ttscaling.train.run.task import make_task
from ttscaling.train.settings.recipe import Recipe

from .search import MODALITIES, Losses, Modality, Shares, Stage

RESULT = "heldout.json"


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Trials of mixtures that share a model, a recipe and an output folder.

    Each trial pre-trains `model` by `recipe` on a mixture of `data_sets`, in a folder under `output`, and
    measures the loss on `heldout`.
    """

    model: Path
    data_sets: Sequence[DataSet]
    heldout: Sequence[DataSet]
    recipe: Recipe
    output: Path

    def measure(self, stage: Stage, shares: Shares) -> Losses:
        """Return the held-out losses after training on a mixture; a trial that is finished isn't repeated.

        Raises ValueError if the trial's folder holds one with other settings, and the errors of `run_job`.
        """
        folder = self.output / stage / "-".join(f"{shares.get(one.name, 0):.4g}" for one in self.data_sets)
        settings = {
            "model": str(self.model),
            "shares": dict(shares),
            "heldout": [one.name for one in self.heldout],
            "recipe": self.recipe.as_json(),
        }
        if (folder / RESULT).exists():
            result = json.loads((folder / RESULT).read_text())
            if result["asked"] != settings:
                raise ValueError(f"{folder} holds a trial with other settings: name another output folder")
            losses: Losses = result["losses"]
            return losses
        accelerator = make_accelerator(self.recipe.precision)
        here = Path().resolve()
        if accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            write_meta(folder / "meta.json", mixed(self.data_sets, shares), base=here)
        accelerator.wait_for_everyone()
        job = Job(
            kind="pretrain",
            model=self.model,
            data=folder / "meta.json",
            base=here,
            output=folder / "run",
            recipe=self.recipe,
            keep=1,
        )
        trained = run_job(job, accelerator, resume=True)
        losses = heldout_losses(trained, self.heldout, self.recipe, accelerator)
        if accelerator.is_main_process:
            (folder / RESULT).write_text(json.dumps({"asked": settings, "losses": losses}, indent=2) + "\n")
        accelerator.wait_for_everyone()
        return losses


def mixed(data_sets: Sequence[DataSet], shares: Shares) -> list[DataSet]:
    """Return the data sets of a mixture, with the `repeat_time` that gives each its share of the samples.

    No `repeat_time` is below 1, since that would leave records out. Raises ValueError for a data set without
    records.
    """
    chosen = [data_set for data_set in data_sets if shares.get(data_set.name, 0) > 0]
    lengths = {data_set.name: len(LineFile(data_set.annotation)) for data_set in chosen}
    empty = [name for name, length in lengths.items() if not length]
    if empty:
        raise ValueError(f"no records in {', '.join(empty)}: add records, or remove the data set")
    per_record = {name: shares[name] / length for name, length in lengths.items()}
    least = min(per_record.values())
    return [replace(data_set, repeat_time=per_record[data_set.name] / least) for data_set in chosen]


def heldout_losses(
    checkpoint: Path, heldout: Sequence[DataSet], recipe: Recipe, accelerator: Accelerator
) -> Losses:
    """Return each held-out set's mean loss over the tokens of its answers, in nats.

    Every process computes a part of each set, with the model sharded as in a run.
    """
    accelerator.free_memory()  # of the model that was trained
    by_token = replace(recipe, average="token")
    make = partial(make_task, "sft", checkpoint)
    tasks = heldout_tasks(heldout, by_token, make, num_processes=accelerator.num_processes)
    module, _ = prepared(
        start_model(checkpoint, accelerator, by_token), next(iter(tasks.values())), accelerator
    )
    evaluated = Heldout(tasks, module, accelerator, every=1).figures_of_each()
    return {name: figures["loss"] for name, figures in evaluated.items()}


def read_modalities(path: Path, *, base: Path) -> tuple[list[DataSet], Mapping[Modality, list[str]]]:
    """Return the data sets of a meta.json, and their names by modality.

    Each entry of the file names its modality: `"modality": "language"` or `"modality": "multimodal"`.

    Raises:
        ValueError: an entry names no modality, or an error of `read_meta`.
        OSError: the file can't be read.
    """
    data_sets = read_meta(path, base=base)
    unknown = [data_set.name for data_set in data_sets if data_set.extra.get("modality") not in MODALITIES]
    if unknown:
        raise ValueError(
            f'{path} names no modality for {", ".join(unknown)}: add "modality": "language" or "multimodal"'
        )
    return list(data_sets), {
        side: [data_set.name for data_set in data_sets if data_set.extra["modality"] == side]
        for side in MODALITIES
    }
