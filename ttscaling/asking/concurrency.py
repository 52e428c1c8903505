"""TODO: what this file is about."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

T = TypeVar("T")
SEEDS_APART = 1000  # between questions: candidate i of a question is sampled with its seed + i
Concurrency = Annotated[int, typer.Option(min=1, help="Requests sent at the same time.")]


async def run_concurrently(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    *,
    total: int,
    concurrency: int,
    label: str,
    done: int = 0,
) -> None:
    """Runs `work` on every item, so many at once. The first failure cancels the others and is raised.

    `items` is read as needed. `done` of the `total` were there before: the bar starts from them.
    """
    shared = iter(items)  # each worker takes the next
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=done)

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
