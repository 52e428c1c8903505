"""Do asynchronous work on many items, several at a time, and show a progress bar."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

T = TypeVar("T")
# A request for the candidates from i on has the question's seed + i, so the seeds of questions lie this far
# apart.
SEEDS_APART = 1000
Concurrency = Annotated[int, typer.Option(min=1, help="Requests sent at the same time.")]


async def run_concurrently(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    *,
    total: int,
    concurrency: int,
    label: str,
    finished_before: int = 0,
) -> None:
    """Run `work` on every item, at most `concurrency` at a time.

    The first failure cancels the other calls and is raised. An item is taken from `items` only when a call is
    about to start. `total` includes the `finished_before` items of an earlier run; the progress bar starts
    from those.
    """
    shared = iter(items)  # All workers take their next item from one iterator.
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=finished_before)

        async def worker() -> None:
            for item in shared:
                await work(item)
                bar.advance(task)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(concurrency, total)):
                    workers.create_task(worker())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
