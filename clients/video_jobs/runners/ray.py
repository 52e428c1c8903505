"""Run a batch on a Ray cluster. A row is a video with its questions, and each row is a job of its own.

The ledger stays the truth. Every video has a folder with a ledger below `--out`, which all machines must
share. So a row that Ray runs again pays for nothing twice, and an item that kills its worker is given up
after three attempts, as anywhere else. Ray's own retries are bounded just above that.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from clients.video_jobs.digest import digest
from clients.video_jobs.items.item import Item
from clients.video_jobs.items.source import Source, read_source
from clients.video_jobs.ledger.ledger import MOST_ATTEMPTS
from clients.video_jobs.outputs.merging import Merged, merge_folders
from clients.video_jobs.run.options import Ending, Exit, JobOptions
from clients.video_jobs.run.session import AnswererOf, run_source
from clients.video_jobs.run.video_group import VideoGroup, grouped

FOLDER = "ray"
RETRIES = MOST_ATTEMPTS  # of a row whose worker died; the one after the last attempt gives its item up


class RayError(Exception):
    """The cluster can't be used. The message says what to change."""


@dataclass(frozen=True)
class GroupWorker:
    """Works on rows in an actor. It is made there anew after the actor has died."""

    options: JobOptions
    answerer_of: AnswererOf

    def __call__(self, rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return a row for each row: how its job ended. It never raises for an item."""
        endings = [work_on(self.options, self.answerer_of, json.loads(row)) for row in rows["group"]]
        return {
            "code": [int(ending.code) for ending in endings],
            "message": [ending.message or "" for ending in endings],
        }


def work_on(options: JobOptions, answerer_of: AnswererOf, row: Mapping[str, Any]) -> Ending:
    """Run the job of one row, and return how it ended."""
    group = VideoGroup(row["video"], tuple(Item(**item) for item in row["items"]))
    one = replace(options, out=folder_of(options, group.video), shard=None, concurrency=1, follow=False)
    return run_source(one, Source("folder", group.items), answerer_of, Console(file=io.StringIO()))


def folder_of(options: JobOptions, video: str) -> Path:
    """Return the folder of a video's ledger."""
    name = digest(video)
    return options.folder.absolute() / FOLDER / name[:2] / name


def run_on_ray(
    options: JobOptions, answerer_of: AnswererOf, address: str, say: Callable[[str], None]
) -> Ending:
    """Run a job on the cluster at an address, or on one that is started here if that is "local".

    It works on `options.concurrency` videos at a time. `answerer_of` is sent to the workers, so it must be
    picklable. Raises RayError if Ray isn't installed or the cluster can't be used, SourceError, OtherJob and
    OSError.
    """
    source = read_source(options.source, options.questions)
    shard = options.shard
    groups = list(grouped(item for item in source.items if shard is None or shard.holds(item)))
    options = replace(options, out=options.out.absolute())
    codes: dict[int, str] = {}
    for number, (code, message) in enumerate(_endings(options, answerer_of, groups, address), 1):
        codes.setdefault(code, message)
        if message:
            say(message)
        if number % 10 == 0 or number == len(groups):
            say(f"{number} of {len(groups)} videos")
    folders = [folder_of(options, group.video) for group in groups]
    merged = merge_folders(options.folder, [folder for folder in folders if folder.exists()])
    return _ending(codes, merged, sum(len(group.items) for group in groups))


def _ending(codes: Mapping[int, str], merged: Merged, items: int) -> Ending:
    left = items - merged.results - merged.errors
    for code in (Exit.USAGE, Exit.STOPPED_EARLY):
        if code in codes:
            return Ending(code, codes[code], merged.results, merged.errors, left)
    code = Exit.SOME_FAILED if merged.errors or left else Exit.ALL_GOOD
    return Ending(code, None, merged.results, merged.errors, left)


def _endings(
    options: JobOptions, answerer_of: AnswererOf, groups: Sequence[VideoGroup], address: str
) -> Iterator[tuple[int, str]]:
    """Yield how the job of each video ended, as Ray Data gives it back. Raises RayError."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RayError(
            f"--ray needs the package ray[data] ({error}); install it with: pip install 'ray[data]'"
        ) from None
    rows = [
        {"group": json.dumps({"video": group.video, "items": [asdict(item) for item in group.items]})}
        for group in groups
    ]
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}}
    try:
        ray.init(
            address=None if address == "local" else address,
            runtime_env=environment,
            log_to_driver=False,
            include_dashboard=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RayError(f"no Ray cluster can be used at {address}: {error}") from error
    # Both are without a bound by default, so a video that kills its worker would be tried for ever.
    bounds = {"max_restarts": RETRIES * max(1, len(rows)), "max_task_retries": RETRIES}
    try:
        endings = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            GroupWorker,
            fn_constructor_args=(options, answerer_of),
            batch_size=1,
            batch_format="numpy",
            concurrency=min(options.concurrency, len(rows)),
            ray_remote_args_fn=lambda: bounds,
        )
        for row in endings.iter_rows():
            yield int(row["code"]), str(row["message"])
    except ray.exceptions.RayError as error:
        raise RayError(f"the Ray job failed; the same command goes on with it: {error}") from error
    finally:
        ray.shutdown()
