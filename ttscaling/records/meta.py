"""Read and write meta.json, which names the data sets of a training run and how each is used.

Source: OpenGVLab/InternVL, `build_datasets` in `internvl_chat/internvl/train/internvl_chat_finetune.py`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .fields import other_fields

_KEYS = ("root", "annotation", "data_augment", "repeat_time", "length", "max_dynamic_patch")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set of a meta.json. Its relative paths are joined to the base folder.

    `root` is the folder that the paths of images and videos are relative to. A `repeat_time` above 1 raises
    the share of the data set by that factor; below 1, only that first part of the file is used (as
    published). `max_dynamic_patch` overrides the run's limit of tiles. `length` is how many records the file
    has, according to meta.json.
    """

    name: str
    root: Path
    annotation: Path
    data_augment: bool = False
    repeat_time: float = 1.0
    length: int | None = None
    max_dynamic_patch: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_meta(path: Path, *, base: Path) -> tuple[DataSet, ...]:
    """Return the data sets of a meta.json, in its order.

    Args:
        path: the meta.json.
        base: the folder that its paths are relative to (the published code uses the working directory).

    Raises:
        ValueError: the file isn't a meta.json, or an entry can't be used. The message names every problem.
        OSError: the file can't be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_named_once)
    except (ValueError, RecursionError) as error:
        if path.suffix == ".jsonl":
            raise ValueError(
                f"{path} is a file of records: name a meta.json that lists it, with "
                f'{{"NAME": {{"root": FOLDER OF ITS IMAGES, "annotation": "{path}"}}}}'
            ) from error
        raise ValueError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f'{path} names no data set: write {{"NAME": {{"root": .., "annotation": ..}}, ..}}')
    problems = [f"{name}: {problem}" for name, entry in content.items() for problem in _problems(entry, base)]
    if problems:
        raise ValueError("\n  ".join([f"{path} can't be used:", *problems]))
    return tuple(_data_set(name, entry, base) for name, entry in content.items())


def write_meta(path: Path, data_sets: Sequence[DataSet], *, base: Path) -> None:
    """Write a meta.json: the inverse of `read_meta`. Paths under `base` are written relative to it."""
    content = {}
    for data_set in data_sets:
        length = {} if data_set.length is None else {"length": data_set.length}
        limit = data_set.max_dynamic_patch
        content[data_set.name] = {
            "root": _relative(data_set.root, base),
            "annotation": _relative(data_set.annotation, base),
            "data_augment": data_set.data_augment,
            "repeat_time": data_set.repeat_time,
            **length,
            **({} if limit is None else {"max_dynamic_patch": limit}),
            **data_set.extra,
        }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _named_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError for a repeated name, because json keeps only its last value."""
    names = [name for name, _ in pairs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(repeated))} is there twice: give each entry a different name")
    return dict(pairs)


def _data_set(name: str, entry: Mapping[str, Any], base: Path) -> DataSet:
    return DataSet(
        name=name,
        root=base / entry.get("root", ""),
        annotation=base / entry["annotation"],
        data_augment=entry.get("data_augment", False),
        repeat_time=float(entry.get("repeat_time", 1)),
        length=entry.get("length"),
        max_dynamic_patch=entry.get("max_dynamic_patch"),
        extra=other_fields(entry, _KEYS),
    )


def _problems(entry: Any, base: Path) -> list[str]:
    if not isinstance(entry, dict):
        return ["isn't an object: write one with 'root' and 'annotation'"]
    problems = []
    annotation = entry.get("annotation")
    if not isinstance(annotation, str) or not annotation.endswith(".jsonl"):
        problems.append("'annotation' must be the path of a .jsonl file")
    elif not (base / annotation).is_file():
        problems.append(f"there is no file {base / annotation}: correct 'annotation'")
    if not isinstance(entry.get("root", ""), str):
        problems.append("'root' must be the path of a folder")
    if not isinstance(entry.get("data_augment", False), bool):
        problems.append("'data_augment' must be true or false")
    repeat = entry.get("repeat_time", 1)
    if isinstance(repeat, bool) or not isinstance(repeat, int | float) or not 0 < repeat < math.inf:
        problems.append("'repeat_time' must be a number above 0")
    for key, least in (("length", 0), ("max_dynamic_patch", 1)):
        value = entry.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            problems.append(f"{key!r} must be a whole number of at least {least}")
    return problems


def _relative(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
