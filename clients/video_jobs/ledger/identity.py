"""The file manifest.json of a job: what its results depend on, so that results of two settings never mix."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clients.video_jobs.digest import digest

FILE_NAME = "manifest.json"
ABSENT = "absent"


class OtherJob(Exception):
    """The folder holds results of other settings, another model or another source."""


def check_identity(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write what the results of a folder depend on, or check that nothing of it has changed.

    Raises OtherJob with every setting that differs, and OSError if the file can't be read or written.
    """
    path = folder / FILE_NAME
    current = json.loads(json.dumps(identity))
    if not path.exists():
        write_json(path, {"hash": digest(current), "identity": current})
        return
    try:
        kept = json.loads(path.read_text())["identity"]
    except (ValueError, KeyError, TypeError):
        raise OtherJob(f"{path} was not written by this command: name another --out") from None
    differences = _differences(kept, current)
    if differences:
        raise OtherJob(
            f"{folder} holds results of other settings ({'; '.join(differences)}): name another --out, or go "
            "back to those settings"
        )


def note_progress(folder: Path, progress: Mapping[str, Any]) -> None:
    """Write how far the job is into its manifest.json."""
    path = folder / FILE_NAME
    write_json(path, json.loads(path.read_text()) | {"progress": progress})


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return the manifest.json of a folder. Raises OtherJob if there is none that can be read."""
    try:
        manifest = json.loads((folder / FILE_NAME).read_text())
        manifest["identity"]["config"]
    except (OSError, ValueError, KeyError, TypeError):
        raise OtherJob(f"{folder} holds no results of `internvl3 batch`") from None
    return manifest


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file such that a reader finds the old content or the new one, never a part."""
    write_texts(path, [json.dumps(value, indent=1) + "\n"])


def write_texts(path: Path, texts: Iterable[str]) -> None:
    """Write a text file such that a reader finds the old content or the new one, never a part."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(texts)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _differences(kept: Any, current: Any) -> list[str]:
    """Return a text for each setting that differs; "server.policy.dtype" is a setting inside of others."""
    before, now = _flat(kept), _flat(current)
    names = [name for name in {**before, **now} if before.get(name, ABSENT) != now.get(name, ABSENT)]
    return [f"{name} is {before.get(name, ABSENT)} there and {now.get(name, ABSENT)} now" for name in names]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the settings as JSON texts; the names of those inside of others are joined by dots."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value, ensure_ascii=False)
    return flat
