"""The objects of OpenAI's batches, and the result of one line."""

from dataclasses import dataclass
from typing import Any

from clients.sdk.answers import Answer
from clients.sdk.completions import Wire
from clients.sdk.errors import ApiError
from clients.sdk.sending.pages import Listed

RUNNING = ("validating", "in_progress", "finalizing", "cancelling")


class BatchCounts(Wire):
    """The lines of a batch, and those that have a result."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchError(Wire):
    """Why a batch was refused, and in which line of its file."""

    message: str
    code: str | None = None
    line: int | None = None


class BatchErrors(Wire):
    """The first of the errors of a batch's file."""

    data: tuple[BatchError, ...] = ()


class Batch(Listed):
    """A batch. The files hold its results: those with status 200, and all others."""

    status: str
    endpoint: str
    request_counts: BatchCounts = BatchCounts()
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: BatchErrors | None = None
    metadata: dict[str, str] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether no line will get a result any more."""
        return self.status not in RUNNING


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """The result of one line: the answer to a chat request, or the error.

    `body` is the whole reply, which is all there is for other endpoints; it is None if there was no reply.
    """

    custom_id: str
    answer: Answer | None
    error: ApiError | None
    body: Any
