"""Run a job from its options to its end: open its folder, find its servers, work, and say how it went."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from clients.video_jobs.items.item import BadItem, Item
from clients.video_jobs.items.source import Source, SourceError, read_source
from clients.video_jobs.ledger.append_log import DiskFull, LogInUse
from clients.video_jobs.ledger.identity import OtherJob, check_identity, note_progress
from clients.video_jobs.ledger.ledger import Ledger
from clients.video_jobs.outputs.output_lines import OutputLines
from clients.video_jobs.outputs.results import FILE_NAME as RESULTS
from clients.video_jobs.planning.measuring import Render

from .answering import Answerer, weigh_items
from .failures import Failure, RunEnds, WrongServer, end_of_run, error_line
from .growing import GrowingFiles
from .interrupts import Interrupted, until_interrupted
from .item_run import ItemRuns, Records
from .job import check_items, run_groups
from .models import first_model, same_model
from .options import Ending, Exit, JobOptions
from .paid_work import PaidWork
from .progress import JobProgress
from .servers import BadAddress, Server, Servers
from .video_group import VideoGroup, grouped

ERRORS = "errors.jsonl"
AnswererOf = Callable[[str | None, Render], Awaitable[Answerer]]
"""Returns the answerer for a model by its name, about whose prompts `render` can ask the servers."""


def run_job(options: JobOptions, answerer_of: AnswererOf, console: Console) -> Ending:
    """Run a job until all its items have an outcome, and return how it ended."""
    try:
        source = read_source(options.source, options.questions)
        if options.follow and source.kind not in ("folder", "pattern"):
            raise SourceError(f"--follow needs a folder or a pattern, and {options.source} is neither")
    except SourceError as error:
        return Ending(Exit.USAGE, str(error))
    return run_source(options, source, answerer_of, console)


def run_source(options: JobOptions, source: Source, answerer_of: AnswererOf, console: Console) -> Ending:
    """Run a job whose items have been read already; see `run_job`."""
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        with Ledger(options.folder) as ledger:
            run = _Run(options, source, ledger, console)
            try:
                asyncio.run(run.work(answerer_of))
            except (RunEnds, DiskFull, Interrupted, OSError, KeyboardInterrupt) as error:
                return run.ending(error)
            return run.ending(None)
    except (OtherJob, LogInUse, BadAddress) as error:
        return Ending(Exit.USAGE, str(error))
    except (DiskFull, OSError) as error:
        return Ending(Exit.STOPPED_EARLY, str(end_of_run(error) or error))


class _Run:
    """One run of a job, with its ledger open."""

    def __init__(self, options: JobOptions, source: Source, ledger: Ledger, console: Console) -> None:
        self._options, self._source, self._ledger, self._console = options, source, ledger, console
        is_first = options.shard is None or options.shard.index == 0
        self._bad = {bad.id: _bad_line(bad) for bad in source.bad} if is_first else {}
        # With --follow every file has to show first that it is complete.
        self._items = {} if options.follow else {item.id: item for item in self._ours(source.items)}

    async def work(self, answerer_of: AnswererOf) -> None:
        """Work on all items. Raises RunEnds, DiskFull, Interrupted, OtherJob and OSError."""
        options, ledger = self._options, self._ledger
        check_items(self._items.values(), ledger, all_items=self._source.kind == "manifest")
        servers = [Server(url, headers=options.headers, silence=options.silence) for url in options.base_urls]
        with JobProgress(self._console) as progress:
            model = await first_model(servers, options.model, patience=options.patience, say=progress.say)
            check_identity(options.folder, self._identity(model))
            if options.retry_failed:
                for item in ledger.items_with("fail"):
                    ledger.retry(item)
            check = same_model(model, options.model)
            async with Servers(servers, patience=options.patience, check=check, say=progress.say) as pool:
                work = PaidWork(ledger, pool, concurrency=options.concurrency, patience=options.patience)
                answerer = await answerer_of(model.get("model"), pool.render)
                runs = ItemRuns(self._records(), work, answerer, progress.note_end)
                groups = self._groups(self._items.values(), progress)
                job = run_groups(
                    runs,
                    groups,
                    concurrency=options.concurrency,
                    scan=self._scan(progress) if options.follow else None,
                )
                weighing = asyncio.create_task(weigh_items(groups, answerer, progress.weigh))
                try:
                    await until_interrupted(job, work, progress.say)
                finally:
                    weighing.cancel()
                    await asyncio.gather(weighing, return_exceptions=True)  # its child process ends, too

    def ending(self, error: BaseException | None) -> Ending:
        """Return how the run ended, and write it into manifest.json."""
        outcomes = [self._ledger.state(item).outcome for item in self._items]
        answered, failed, left = outcomes.count("done"), outcomes.count("fail"), outcomes.count(None)
        failed += len(self._bad)
        if isinstance(error, Interrupted | KeyboardInterrupt):
            code, message = Exit.INTERRUPTED, None
        elif isinstance(error, WrongServer):
            code, message = Exit.USAGE, str(error)
        elif error is not None:
            code, message = Exit.STOPPED_EARLY, str(end_of_run(error) or error)
        else:
            code, message = (Exit.SOME_FAILED if failed else Exit.ALL_GOOD), None
        counts = {"items": answered + failed + left, "done": answered, "failed": failed, "left": left}
        try:
            note_progress(self._options.folder, counts)
        except OSError as second:
            message = message or str(second)
        return Ending(code, message, answered, failed, left)

    def _identity(self, model: Mapping[str, Any]) -> Mapping[str, Any]:
        shard = None if self._options.shard is None else str(self._options.shard)
        return {"config": {**self._options.settings}, "server": model, "shard": shard}

    def _records(self) -> Records:
        folder, ledger = self._options.folder, self._ledger
        results = OutputLines(folder / RESULTS, ledger.items_with("done"), ledger.outcome_line)
        failed = [*self._bad, *ledger.items_with("fail")]
        errors = OutputLines(
            folder / ERRORS, failed, lambda item: self._bad.get(item) or ledger.outcome_line(item)
        )
        return Records(folder, ledger, results, errors)

    def _ours(self, items: Iterable[Item]) -> Iterable[Item]:
        shard = self._options.shard
        return (item for item in items if shard is None or shard.holds(item))

    def _groups(self, items: Iterable[Item], progress: JobProgress) -> list[VideoGroup]:
        """Return those of the items that have no outcome by their videos, and let the bar expect them."""
        left = [item for item in items if self._ledger.state(item.id).outcome is None]
        for item in left:
            progress.expect(item)
        return list(grouped(left))

    def _scan(self, progress: JobProgress) -> Callable[[], Iterable[VideoGroup]]:
        """Return a function that finds the videos that have become complete since its last call."""
        growing = GrowingFiles()

        def scan() -> Iterable[VideoGroup]:
            try:
                items = self._ours(read_source(self._options.source, self._options.questions).items)
            except SourceError:
                return []
            new = [item for item in items if item.id not in self._items]
            complete = {path for path in {item.video for item in new} if growing.is_complete(Path(path))}
            found = {item.id: item for item in new if item.video in complete}
            self._items |= found
            return self._groups(found.values(), progress)

        return scan


def _bad_line(bad: BadItem) -> Mapping[str, Any]:
    return error_line(bad.id, None, Failure("manifest", "bad_line", bad.message), 0)
