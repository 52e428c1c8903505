"""A bar on the terminal for an upload, with rate and time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from .file_slice import OnProgress


@contextmanager
def progress_bar(title: str) -> Iterator[OnProgress]:
    """Yield a function for `on_progress`, which shows a bar on standard error until the end of the block.

    Where standard error is no terminal, nothing is shown.
    """
    # Only a program that shows a bar pays for loading rich.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def show(sent: int, total: int) -> None:
            progress.update(task, completed=sent, total=total)

        yield show
