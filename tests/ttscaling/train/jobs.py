"""Shared by the tests of training runs: a tiny checkpoint, data in each format, and a job on them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.checkpoints import build_checkpoint
from tests.ttscaling.train.data.material import data_set
from ttscaling.records.meta import write_meta
from ttscaling.train.run.job import Job
from ttscaling.train.settings.kinds import Kind
from ttscaling.train.settings.recipe import Recipe

STEPS = ("Read it.", "Add 1.", "Final answer: 2")


def job(folder: Path, kind: Kind = "sft", *, name: str = "run", length: int = 1, **changes: Any) -> Job:
    """Return a job of a few seconds. Its data and checkpoint are written into `folder` on first use.

    `length` is a factor of the length of the answers, which have 8 to 24 tokens for 1.
    """
    model, data = folder / "start", folder / f"{kind}.json"
    if not model.exists():
        build_checkpoint(model, "opengvlab")
    if not data.exists():
        write_data(folder / "data", kind, data, length=length)
    settings: dict[str, Any] = {"model": model, "data": data, "base": Path(), "output": folder / name}
    return Job(kind=kind, **settings | {"recipe": recipe(), "save_every": 3} | changes)


def recipe(**changes: Any) -> Recipe:
    """Return a recipe of six steps with four small packs each, in fp32."""
    small = Recipe(
        steps=6,
        batch=4,
        learning_rate=1e-3,
        max_tokens=600,
        max_tiles=8,
        open_packs=2,
        image_tiles=3,
        precision="fp32",
    )
    return replace(small, **changes)


def write_data(root: Path, kind: Kind, meta: Path, *, length: int = 1) -> None:
    """Write ten records in the format of the kind, with one image, two images or none."""
    media: list[dict[str, Any]] = [{"image": "wide.png"}, {"image": ["square.png", "wide.png"]}, {}]
    rows = [{**media[n % 3], **_record(kind, n, length)} for n in range(10)]
    folder = data_set(root, name=kind)
    folder.annotation.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_meta(meta, [folder], base=Path())


def _record(kind: Kind, number: int, length: int) -> dict[str, Any]:
    question, answer = f"What is {number}+1?", f"It is {number + 1}." * (1 + number % 3) * length
    if kind == "mpo":
        return {"question": question, "chosen": answer, "rejected": f"No idea, {number}." * length}
    if kind == "critic":
        steps = [{"step": step, "score": float((number + index) % 3 > 0)} for index, step in enumerate(STEPS)]
        return {"question": question, "steps_with_score": steps}
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"conversations": turns}


def command_line(job: Job) -> list[str]:
    """Return the arguments of `internvl3 train` for a job."""
    arguments: list[object] = [job.kind, "--model", job.model, "--data", job.data, "--output", job.output]
    arguments += ["--save-every", job.save_every, "--keep", job.keep]
    for name, value in job.recipe.as_json().items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            shown = ",".join(map(str, value)) if isinstance(value, list) else value
            arguments += [f"--{option}", shown]
    return list(map(str, arguments))


def figures(job: Job) -> list[dict[str, float]]:
    """Return the logged figures of each step, without those that depend on the time or the machine."""
    rows = [json.loads(line) for line in (job.output / "log.jsonl").read_text().splitlines()]
    of_machine = ("time", "seconds", "gpu_memory_gb")
    return [{name: value for name, value in row.items() if name not in of_machine} for row in rows]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint."""
    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return tensors
