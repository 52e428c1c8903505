"""Shared by the tests of `train fetch`: small data sets laid out as the published archives are.

The layouts come from the listings on the hub and from code that reads the published files
(`../shared/findings/train.md` section 4): annotations.zip, images.zip_aa, images.zip_ab ... and meta.json, or
no meta.json for VisualPRM400K-v1.1-Raw.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

STEPS = ("Read it.", "Add 1.", "Final answer: 2")


def png(color: int) -> bytes:
    """Return a small picture of one colour, as the bytes of a PNG file."""
    output = io.BytesIO()
    Image.new("RGB", (40, 30), (color % 256, 99, 7)).save(output, "PNG")
    return output.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of files by their names."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return output.getvalue()


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_split(folder: Path, name: str, content: bytes, parts: int) -> None:
    """Write a file in parts with the suffixes `_aa`, `_ab`, ..."""
    size = -(-len(content) // parts)
    for number in range(parts):
        suffix = f"_a{'abcdefgh'[number]}"
        (folder / f"{name}{suffix}").write_bytes(content[number * size : (number + 1) * size])


def write_raw(datasets: Path, *, records: int = 6) -> Path:
    """Write VisualPRM400K-v1.1-Raw: refs of two kinds, and no meta.json."""
    folder = datasets / "OpenGVLab" / "VisualPRM400K-v1.1-Raw"
    folder.mkdir(parents=True)
    charts = [
        {
            "image": f"VisualPRM400K-v1.1-Raw/chartqa/train/{number}.png",
            "question": f"<image>\nWhat is {number}+1?",
            "answer": "2",
            "response": "\n\n".join(STEPS),
            "steps_with_score": [
                {
                    "step": step,
                    "score": float((number + index) % 3 > 0),
                    "num_mc_correct": 16 * int((number + index) % 3 > 0),
                    "num_mc_total": 16,
                }
                for index, step in enumerate(STEPS)
            ],
        }
        for number in range(records)
    ]
    two = [
        {**row, "image": [f"images/{number}-img0.png", f"images/{number}-img1.png"]}
        for number, row in enumerate(charts)
    ]
    for row in two:
        row["question"] = "<image>\n<image>\nAre they alike?"
    annotations = {
        "annotations/chartqa_trainval_30k_extracted.jsonl": lines(charts),
        "annotations/nlvr2_train_extracted.jsonl": lines(two),
    }
    images = {f"images/chartqa/train/{number}.png": png(number) for number in range(records)}
    # Pictures of the same names in another folder, which the annotation isn't named after.
    names = [name for row in two for name in row["image"]]
    images |= {f"images/{other}/{name}": png(9) for other in ("abc", "nlvr2") for name in names}
    (folder / "annotations.zip").write_bytes(zipped(annotations))
    write_split(folder, "images.zip", zipped(images), 3)
    (folder / "README.md").write_text("# VisualPRM400K-v1.1\n")
    return folder


def write_mmpr(datasets: Path) -> Path:
    """Write MMPR-v1.2, with its meta.json, whose paths begin with its name."""
    folder = datasets / "OpenGVLab" / "MMPR-v1.2"
    folder.mkdir(parents=True)
    rows = [
        {"image": f"train/{n}.png", "question": "<image>\n1+1?", "chosen": "2", "rejected": "3"}
        for n in range(3)
    ]
    (folder / "annotations.zip").write_bytes(zipped({"annotations/ai2d_mpo.jsonl": lines(rows)}))
    write_split(folder, "images.zip", zipped({f"images/ai2d/train/{n}.png": png(n) for n in range(3)}), 2)
    entry = {
        "root": "MMPR-v1.2/images/ai2d",
        "annotation": "MMPR-v1.2/annotations/ai2d_mpo.jsonl",
        "data_augment": False,
        "repeat_time": 1,
        "length": 3,
    }
    (folder / "meta.json").write_text(json.dumps({"ai2d_mpo": entry}))
    return folder


def write_chats(datasets: Path) -> Path:
    """Write VisualPRM400K-v1.1, whose records are conversations with labels, with its meta.json."""
    folder = datasets / "OpenGVLab" / "VisualPRM400K-v1.1"
    folder.mkdir(parents=True)
    turns = [{"from": "system", "value": "Judge each step."}]
    for number, step in enumerate(STEPS):
        question = "### Question:\n<image>\n1+1?\n\n### Solution Process:\n" if number == 0 else ""
        turns += [{"from": "human", "value": question + step}, {"from": "gpt", "value": "+-+"[number]}]
    rows = [{"image": "a.png", "conversations": turns} for _ in range(3)]
    (folder / "annotations.zip").write_bytes(zipped({"annotations/ai2d_prm.jsonl": lines(rows)}))
    write_split(folder, "images.zip", zipped({"images/ai2d/a.png": png(1)}), 2)
    name = "VisualPRM400K-v1.1"
    entry = {
        "root": f"{name}/images/ai2d",
        "annotation": f"{name}/annotations/ai2d_prm.jsonl",
        "repeat_time": 1,
    }
    (folder / "meta.json").write_text(json.dumps({"ai2d_prm": entry}))
    return folder


def write_bench(datasets: Path, *, records: int = 4) -> Path:
    """Write VisualProcessBench: test.jsonl and images.zip."""
    folder = datasets / "OpenGVLab" / "VisualProcessBench"
    folder.mkdir(parents=True)
    rows = [
        {
            "image": [f"images/MathVision/{number}.png"],
            "question": "What is 1+1?",
            "answer": "2",
            "response": {"steps": list(STEPS), "process_correctness": [1, -1, 0]},
            "policy_model": "internvl",
            "data_source": "MathVision",
        }
        for number in range(records)
    ]
    (folder / "test.jsonl").write_bytes(lines(rows))
    images = {f"images/MathVision/{number}.png": png(number) for number in range(records)}
    (folder / "images.zip").write_bytes(zipped(images))
    return folder
