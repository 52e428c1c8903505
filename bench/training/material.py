"""Write the checkpoint and the data, in the published formats, for `internvl3 bench training`.

All systems train on the same records. These are questions about nano's sheets of digits. A pair's rejected
response has a slip in some step. A judged solution's steps have value 1 as long as the right answer can still
be reached.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from bench.harness.contest import ROOT
from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.nano_tasks.problems import random_task, solve
from ttscaling.nano_tasks.sheets import draw_sheet
from ttscaling.records.meta import DataSet, write_meta
from ttscaling.steps import SEPARATOR
from ttscaling.train.checkpoints.load import empty_model, load_model
from ttscaling.train.nano.stages.exercises import slipped_statements
from ttscaling.train.network.internvl import V2PEInternVL

Kind = Literal["mpo", "critic"]
Size = Literal["nano", "1B"]
NANO = ROOT / "model" / "nano" / "policy"
SIDES: Mapping[Size, int] = {"nano": 168, "1B": 896}  # Pixels that make four tiles and a thumbnail.


def write_material(folder: Path, size: Size, samples: int) -> None:
    """Write a checkpoint and, for each kind of training, `samples` records and the file that lists them.

    Both kinds share the images. The files are {kind}.json, {kind}.jsonl and images/.
    """
    (folder / "images").mkdir()
    _write_checkpoint(folder / "checkpoint", size)
    rng, pool = np.random.default_rng(5), digit_pool("train")
    rows: dict[Kind, list[dict[str, Any]]] = {"mpo": [], "critic": []}
    for number in range(samples):
        task = random_task(rng)
        name, side = f"images/{number}.png", SIDES[size]
        draw_sheet(task.sheet, pool, rng, large=True).resize((side, side)).save(folder / name)
        solution = solve(task)
        slipped: tuple[Any, ...] = ()
        while not any(statement.value < 1 for statement in slipped):
            slipped = slipped_statements(lambda slips, task=task: solve(task, slips), rng)  # type: ignore[misc]
        question = {"image": name, "question": task.question}
        wrong = SEPARATOR.join(statement.shown for statement in slipped)
        rows["mpo"].append({**question, "chosen": solution.text, "rejected": wrong})
        steps = [{"step": statement.shown, "score": float(statement.value)} for statement in slipped]
        rows["critic"].append({**question, "steps_with_score": steps})
    for kind, records in rows.items():
        path = folder / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        write_meta(folder / f"{kind}.json", [DataSet(name=kind, root=folder, annotation=path)], base=folder)


def start_model(folder: Path) -> V2PEInternVL:
    """Return the model that a run starts from, in training mode, with nano's weights or random ones."""
    checkpoint = folder / "checkpoint"
    if list(checkpoint.glob("*.safetensors")):
        return load_model(checkpoint, dtype=torch.float32).train()
    model = empty_model(checkpoint)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.02)
    return model.train()


def _write_checkpoint(folder: Path, size: Size) -> None:
    """Write nano's checkpoint, or one of InternVL3-1B's size with nano's tokenizer and without weights."""
    shutil.copytree(NANO, folder)
    if size == "nano":
        return
    (folder / "model.safetensors").unlink()
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"force_image_size": 448, "max_dynamic_patch": 12}
    config["vision_config"] |= {
        "image_size": 448,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    }
    config["llm_config"] |= {
        "vocab_size": 151674,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rope_theta": 1000000.0,
        "layer_types": ["full_attention"] * 24,
    }
    path.write_text(json.dumps(config, indent=2))
