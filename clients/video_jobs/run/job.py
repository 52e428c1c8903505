"""Work on all items of a job, several videos at a time, until each has an outcome."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from clients.video_jobs.items.fetch import FetchError, local_video
from clients.video_jobs.items.item import Item
from clients.video_jobs.ledger.identity import OtherJob
from clients.video_jobs.ledger.ledger import MOST_ATTEMPTS, Ledger

from .failures import Failure, end_of_run
from .feed import Feed
from .item_run import ItemRuns
from .video_group import VideoGroup, unfinished

DOWNLOADS = "downloads"


async def run_groups(
    runs: ItemRuns,
    groups: Sequence[VideoGroup],
    *,
    concurrency: int,
    scan: Callable[[], Iterable[VideoGroup]] | None = None,
) -> None:
    """Give every item of the groups an outcome, `concurrency` videos at a time.

    Items that have lost attempts come after the others, so that they can't take those with them again. Before
    its last attempt an item runs alone: if the process then dies, it was this item. With `scan` the run
    goes on for ever and takes the new videos that `scan` returns. Raises RunEnds and DiskFull.
    """
    ledger = runs.records.ledger
    known = list(groups)
    while True:
        await _run_round(runs, known, concurrency, scan)
        if scan is None:
            return
        known = [group for group in known if any(ledger.state(i.id).outcome is None for i in group.items)]
        await asyncio.sleep(1)


async def _run_round(
    runs: ItemRuns,
    known: list[VideoGroup],
    concurrency: int,
    scan: Callable[[], Iterable[VideoGroup]] | None,
) -> None:
    """Give every item an outcome. Groups that `scan` returns meanwhile are added to `known`."""
    ledger = runs.records.ledger

    def scan_new() -> list[VideoGroup]:
        found = list(scan()) if scan else []
        known.extend(found)
        return found

    for lost in range(MOST_ATTEMPTS):
        left = [part for part in (unfinished(group, ledger, lost) for group in known) if part]
        feed = Feed(left, scan_new if scan and lost == 0 else None)
        await _run_feed(runs, feed, 1 if lost == MOST_ATTEMPTS - 1 else concurrency)
    for item in (item for group in known for item in group.items):
        state = ledger.state(item.id)
        if state.outcome is None and state.lost >= MOST_ATTEMPTS:
            runs.give_up(item)


async def _run_feed(runs: ItemRuns, feed: Feed, workers: int) -> None:
    async def worker() -> None:
        while (group := await feed.next()) is not None:
            with feed.working():
                await _run_group(runs, group)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(worker())
    except BaseExceptionGroup as error:
        raise (end_of_run(error) or error.exceptions[0]) from None


async def _run_group(runs: ItemRuns, group: VideoGroup) -> None:
    folder: Path = runs.records.folder / DOWNLOADS
    try:
        async with local_video(group.video, folder) as video:
            for item in group.items:
                await runs.attempt(item, video)
    except FetchError as error:
        kind = "fetch_failed" if error.status or error.retryable else "missing_video"
        failure = Failure("fetch", kind, str(error), error.status, retryable=error.retryable)
        for item in group.items:
            runs.fail(item, failure)


def check_items(items: Iterable[Item], ledger: Ledger, *, all_items: bool) -> None:
    """Check that the items are those of the ledger, where it knows them.

    Raises OtherJob for an item that asks something else than before, and with `all_items` also if the ledger
    knows items that are not among these.
    """
    ids = set()
    for item in items:
        ids.add(item.id)
        before = ledger.state(item.id).fingerprint
        if before and before != item.fingerprint:
            raise OtherJob(
                f"the item {item.id!r} asks something else than before: give it another id, or name another "
                "--out"
            )
    gone = [item for item in ledger.known_items() if item not in ids]
    if all_items and gone:
        raise OtherJob(
            f"--out holds results of another manifest: {len(gone)} of its items are not in this one, such as "
            f"{gone[0]!r}; name another --out"
        )
