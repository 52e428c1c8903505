"""Find the folders that the media paths of published annotations are relative to, and write a meta.json."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ttscaling.records.bad_records import BadRecords, RecordError
from ttscaling.records.jsonl import read_records
from ttscaling.records.media_paths import media_path
from ttscaling.records.meta import DataSet, read_meta, write_meta

_TRIED = 20
_LINKS = "roots"


def usable_meta(folder: Path) -> Path:
    """Return a meta.json for a downloaded data set, with paths relative to the parent of its folder.

    It is the published one, if its files and folders are there, and otherwise one that is written from the
    annotation files.

    Raises:
        ValueError: there is no annotation file, or the images of one can't be found.
        OSError: a file can't be read or written.
    """
    published = folder / "meta.json"
    if published.exists() and _fits(published, folder.parent):
        return published
    annotations = sorted(path for path in folder.rglob("*.jsonl") if not _is_hidden(path, folder))
    if not annotations:
        raise ValueError(f"there is no annotation file (.jsonl) in {folder}: fetch the data set again")
    data_sets = [
        DataSet(name=path.stem, root=data_root(path, folder), annotation=path) for path in annotations
    ]
    written = folder / ("meta-found.json" if published.exists() else "meta.json")
    write_meta(written, data_sets, base=folder.parent)
    return written


def data_root(annotation: Path, folder: Path) -> Path:
    """Return the folder under which the media of an annotation file's first records are.

    The published archives hold `images/...`, and the paths in the annotations begin with the name of the data
    set (`VisualPRM400K-v1.1-Raw/chartqa/..`), with `images/`, or with the name of a folder in it. In one case
    they are relative to a folder in `images`. A link is made for paths that begin with the name of the data
    set, because no folder has this name there.

    Raises:
        ValueError: no such folder holds the media.
        OSError: a file can't be read or written.
    """
    named = list(islice(_media(annotation), _TRIED))
    if not named:
        return folder
    images = folder / "images"
    below = [path for path in images.iterdir() if path.is_dir()] if images.is_dir() else []
    # Several folders may hold images of the same names. So the one that the annotation is named after comes
    # first.
    below.sort(key=lambda path: (path.name.lower() not in annotation.stem.lower(), path.name))
    for root in (folder.parent, folder, images, *below):
        if _most_are_in(root, named):
            return root
    prefix = f"{folder.name}/"
    if _most_are_in(images, [path.removeprefix(prefix) for path in named if path.startswith(prefix)]):
        link = folder / _LINKS / folder.name
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path("..") / "images")
        return link.parent
    raise ValueError(
        f"the images of {annotation} aren't where they are looked for (the first is {named[0]!r}): look "
        f"where they are in {folder}, and write a meta.json with this folder as 'root'"
    )


def _fits(meta: Path, base: Path) -> bool:
    try:
        return all(data_set.root.is_dir() for data_set in read_meta(meta, base=base))
    except ValueError:
        return False


def _media(annotation: Path) -> Iterator[str]:
    """Yield the paths of the images and videos of a file's records, whatever their format."""

    def paths(data: Mapping[str, Any]) -> list[str]:
        values = [data.get("image"), data.get("video")]
        flat = [path for value in values for path in (value if isinstance(value, list) else [value])]
        return [path for path in flat if isinstance(path, str) and path]

    tolerant = BadRecords(allowed=1.0, tell=lambda problem: None)  # `train check` names bad records
    for found in read_records(annotation, paths, tolerant):
        yield from found


def _most_are_in(root: Path, paths: Sequence[str]) -> bool:
    """Return whether more than half are there. Published data name a few images that no archive holds."""
    return 2 * sum(_is_file(root, path) for path in paths) > len(paths)


def _is_file(root: Path, path: str) -> bool:
    try:
        media_path(root, path)
    except RecordError:
        return False
    return True


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
