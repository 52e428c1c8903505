"""Put the results of all shards of a job together."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clients.video_jobs.digest import digest
from clients.video_jobs.ledger.identity import FILE_NAME as MANIFEST
from clients.video_jobs.ledger.identity import OtherJob, read_manifest, write_json, write_texts

from .reading import read_lines
from .results import FILE_NAME as RESULTS
from .results import as_json
from .thumbnails import FOLDER as THUMBNAILS

ERRORS = "errors.jsonl"
SHARD = re.compile(r"shard-(\d+)-of-(\d+)")


@dataclass(frozen=True)
class Merged:
    """How many results and errors were put together, and which shards are missing or not at their end."""

    results: int
    errors: int
    missing: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()


def merge_shards(out: Path) -> Merged:
    """Write results.jsonl, errors.jsonl, manifest.json and the thumbnails of all shards into their folder.

    An item that two shards have is written once, which can happen if the number of shards has changed. It may
    be called again at any time. Raises OtherJob if there are no shards, or they are of different jobs, and
    OSError.
    """
    folders = shard_folders(out)
    count = int(folders[0].name.rpartition("-")[2])
    there = {folder.name for folder in folders}
    names = [f"shard-{index}-of-{count}" for index in range(count)]
    merged = merge_folders(out, folders)
    return replace(merged, missing=tuple(name for name in names if name not in there))


def merge_folders(out: Path, folders: Sequence[Path]) -> Merged:
    """Put the results in several folders, of which there is at least one, together in another one.

    Raises OtherJob if they are of different jobs, and OSError.
    """
    manifests = {folder: read_manifest(folder) for folder in folders}
    identities = {digest(_common(manifest)) for manifest in manifests.values()}
    if len(identities) > 1:
        raise OtherJob(
            f"the parts in {out} have different settings or models: run those again that differ, with a "
            "new --out"
        )
    results = _once(folders, RESULTS, set())
    write_texts(out / RESULTS, map(as_json, results))
    ids = {str(line["custom_id"]) for line in read_lines(out / RESULTS)}
    write_texts(out / ERRORS, map(as_json, _once(folders, ERRORS, set(ids))))
    errors = sum(1 for _ in read_lines(out / ERRORS))
    for folder in folders:
        if (folder / THUMBNAILS).is_dir():
            shutil.copytree(folder / THUMBNAILS, out / THUMBNAILS, dirs_exist_ok=True)
    identity = _common(next(iter(manifests.values())))
    progress = {"items": len(ids) + errors, "done": len(ids), "failed": errors}
    write_json(out / MANIFEST, {"hash": digest(identity), "identity": identity, "progress": progress})
    return Merged(
        results=len(ids),
        errors=errors,
        unfinished=tuple(
            folder.name
            for folder, manifest in manifests.items()
            if (manifest.get("progress") or {"left": 1}).get("left")
        ),
    )


def shard_folders(out: Path) -> list[Path]:
    """Return the folders of the shards. Raises OtherJob if there are none, or of two divisions."""
    found: dict[tuple[int, int], Path] = {}
    for path in out.glob("shard-*-of-*"):
        match = SHARD.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match[2]), int(match[1])] = path
    if not found:
        raise OtherJob(f"{out} holds no shards; they are made by `internvl3 batch` with --shard I/N")
    if len({count for count, _ in found}) > 1:
        raise OtherJob(f"{out} holds shards of two divisions: remove those that don't count")
    return [path for _, path in sorted(found.items())]


def _common(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {**manifest["identity"], "shard": None}


def _once(folders: Sequence[Path], name: str, ids: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines of all shards whose ids are not among `ids`, each once."""
    for folder in folders:
        for line in read_lines(folder / name):
            if str(line["custom_id"]) not in ids:
                ids.add(str(line["custom_id"]))
                yield line
