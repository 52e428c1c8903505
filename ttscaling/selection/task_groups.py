"""Raise a task's failure itself where asyncio's task group would raise an ExceptionGroup."""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def raise_first_failure(preferred: type[Exception] = Exception) -> Iterator[None]:
    """Raise the first failure of the type `preferred` that a task group wrapped, else its first failure."""
    try:
        yield
    except ExceptionGroup as group:
        failures = [error for error in group.exceptions if isinstance(error, preferred)]
        raise (failures or group.exceptions)[0] from None


async def run_all(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all coroutines in order; the first failure cancels the others and is raised."""
    with raise_first_failure():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    return [task.result() for task in tasks]
