"""Why an item has no answer, and what ends a whole run.

Exception
  ItemError       one item fails, and the others go on
    WorkerLost    what worked on it died, such as its decoder; another attempt may succeed
  RequestFailed   a ClientError: a paid request failed, and so does its item
  RunEnds         the run can't go on: its items are left as they are, and the same command goes on with them
    ServerGone    no server has answered for as long as the run waits
    WrongServer   the server refuses the key, or it is one with another model
"""

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clients.sdk.errors import ClientError
from clients.video_jobs.ledger.append_log import DiskFull

LONGEST_MESSAGE = 500  # characters
DATA_URL = re.compile(r"data:[\w/+.-]*;base64,[\w+/=,]*")
LONG_WORD = re.compile(r"[\w+/=,]{200,}")


@dataclass(frozen=True)
class Failure:
    """Why an item has no answer.

    `stage` is what was done: manifest, fetch, probe, decode, cache, or the purpose of a request, such as
    answer or segment. `kind` is its class in errors.jsonl. `status` and `request_id` are those of the
    server's reply. `retryable` is whether the same item may succeed another time.
    """

    stage: str
    kind: str
    message: str
    status: int | None = None
    request_id: str | None = None
    retryable: bool = False


class ItemError(Exception):
    """One item fails."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class WorkerLost(ItemError):
    """What worked on an item died, such as its decoder."""


class RequestFailed(ClientError):
    """A paid request failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class RunEnds(Exception):
    """The run can't go on. The message is one line and says what to do."""


class ServerGone(RunEnds):
    """No server has answered for as long as the run waits."""


class WrongServer(RunEnds):
    """The server refuses the key, or it is one with another model."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in an exception group, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def end_of_run(error: BaseException) -> BaseException | None:
    """Return the exception in `error` that ends the whole run, or None if it concerns one item."""
    for leaf in leaves(error):
        if isinstance(leaf, RunEnds | DiskFull):
            return leaf
        if isinstance(leaf, OSError) and leaf.errno in (errno.ENOSPC, errno.EDQUOT):
            return RunEnds("the disk is full: make room, then run the command again")
    return None


def failure_of(error: Exception) -> Failure:
    """Return why an item failed. What nobody expected is of the class "internal"."""
    for leaf in leaves(error):
        if isinstance(leaf, ItemError | RequestFailed):
            return leaf.failure
        if isinstance(leaf, ClientError):
            return Failure("answer", "bad_reply", str(leaf), retryable=True)
    first = next(leaves(error))
    return Failure("answer", "internal", f"{type(first).__name__}: {first}")


def error_line(item: str, video: str | None, failure: Failure, attempts: int) -> Mapping[str, Any]:
    """Return the line of errors.jsonl for an item; media never stand in it."""
    return {
        "custom_id": item,
        "video": video,
        "stage": failure.stage,
        "class": failure.kind,
        "status": failure.status,
        "request_id": failure.request_id,
        "message": short(failure.message),
        "attempts": attempts,
        "retryable": failure.retryable,
    }


def short(message: str) -> str:
    """Return a message in one line of at most 500 characters, without the media that it may quote."""
    text = LONG_WORD.sub("...", DATA_URL.sub("data:...", message))
    return " ".join(text.split())[:LONGEST_MESSAGE]
