"""What a client does with batches: it makes them, waits for their end and reads their results."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from clients.sdk.answers import answer_of
from clients.sdk.completions import Completion
from clients.sdk.errors import ApiError, ClientError, InvalidRequest, api_error
from clients.sdk.files.file_slice import FileSlice, OnProgress
from clients.sdk.files.steps import LOOK, content_steps
from clients.sdk.files.stored_files import StoredFile
from clients.sdk.sending.attempts import object_of
from clients.sdk.sending.calls import Call, Pause, Repeat, Steps, json_content
from clients.sdk.sending.connection import Connection
from clients.sdk.sending.failures import shape_errors
from clients.sdk.sending.pages import Page, all_pages

from .objects import Batch, BatchCounts, BatchResult

CHAT = "/v1/chat/completions"
PAGE = 100  # batches, as many as OpenAI allows
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two looks at a batch
OnCounts = Callable[[BatchCounts], None]


def ignore_counts(counts: BatchCounts) -> None:
    """Do nothing with the progress of a batch."""


def create_steps(
    connection: Connection,
    bodies: Mapping[str, Mapping[str, Any]],
    endpoint: str,
    metadata: Mapping[str, str] | None,
    on_progress: OnProgress,
) -> Steps[Batch]:
    """Upload the bodies as lines of a file, each under its id, and make a batch of it. Raises ClientError."""
    if not bodies:
        raise InvalidRequest("there is nothing to do in a batch without requests; give at least one")
    with TemporaryFile() as file:
        for custom_id, body in bodies.items():
            line = {"custom_id": custom_id, "method": "POST", "url": endpoint, "body": dict(body)}
            file.write(json_content(line) + b"\n")
        stored = yield from _upload_lines(connection, file, on_progress)
    return (yield from begin_steps(connection, stored.id, endpoint, metadata))


def begin_steps(
    connection: Connection, file_id: str, endpoint: str, metadata: Mapping[str, str] | None
) -> Steps[Batch]:
    """Make a batch of a file that was uploaded with the purpose `batch`. Raises ClientError."""
    body: dict[str, Any] = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
    if metadata is not None:
        body["metadata"] = dict(metadata)
    call = Call(
        method="POST",
        path="v1/batches",
        content=json_content(body),
        repeat=Repeat.UNLESS_DONE,
        afterwards="look at the list of batches",
    )
    return (yield from object_of(connection, call, Batch, "batch"))


def retrieve_steps(connection: Connection, batch_id: str) -> Steps[Batch]:
    """Return how far a batch is."""
    return (
        yield from object_of(connection, Call(method="GET", path=f"v1/batches/{batch_id}"), Batch, "batch")
    )


def list_steps(connection: Connection) -> Steps[list[Batch]]:
    """Return all batches of the key, page by page, as the server orders them."""
    return (yield from all_pages(connection, "v1/batches", {"limit": PAGE}, Page[Batch], "list of batches"))


def cancel_steps(connection: Connection, batch_id: str) -> Steps[Batch]:
    """Have the server begin no more lines. A second request does nothing more, so it may be repeated."""
    call = Call(method="POST", path=f"v1/batches/{batch_id}/cancel", content=b"{}")
    return (yield from object_of(connection, call, Batch, "batch"))


def wait_steps(
    connection: Connection, batch_id: str, max_seconds: float | None, on_counts: OnCounts
) -> Steps[Batch]:
    """Return a batch once it has ended. Raises ClientError after `max_seconds`; the batch goes on then."""
    begin, pause = time.monotonic(), FIRST_PAUSE
    while True:
        batch = yield from retrieve_steps(connection, batch_id)
        on_counts(batch.request_counts)
        if batch.has_ended:
            return batch
        if max_seconds is not None and time.monotonic() - begin + pause > max_seconds:
            raise ClientError(
                f"the batch {batch_id} has not ended within {max_seconds:g} s; it goes on at the server, "
                "so wait for it again"
            )
        yield Pause(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def result_steps(connection: Connection, batch: Batch) -> Steps[list[BatchResult]]:
    """Return the results of a batch that has ended: first those that were answered, then the others.

    Raises ClientError, also for a batch that still runs or whose file was refused.
    """
    if not batch.has_ended:
        raise InvalidRequest(f"the batch {batch.id} has not ended: it is {batch.status}; wait for it first")
    if batch.errors is not None and batch.errors.data and not (batch.output_file_id or batch.error_file_id):
        first = batch.errors.data[0]
        line = "" if first.line is None else f" in line {first.line}"
        raise ClientError(f"the batch {batch.id} failed{line}: {first.message}")
    results: list[BatchResult] = []
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id is not None:
            content = yield from content_steps(connection, file_id)
            with shape_errors(connection.shown_url, "file of results"):
                results += _results_in(content)
    return results


def _upload_lines(connection: Connection, file: BinaryIO, on_progress: OnProgress) -> Steps[StoredFile]:
    size = file.tell()
    call = Call(
        method="POST",
        path="v1/files",
        data={"purpose": "batch"},
        files={"file": ("batch.jsonl", FileSlice(file, 0, size, total=size, on_progress=on_progress))},
        repeat=Repeat.UNLESS_DONE,
        afterwards=LOOK,
    )
    return (yield from object_of(connection, call, StoredFile, "file"))


def _results_in(content: bytes) -> Iterator[BatchResult]:
    for line in content.split(b"\n"):
        if line.strip():
            result = json.loads(line)
            yield _result(str(result["custom_id"]), result.get("response"), result.get("error"))


def _result(custom_id: str, response: Any, error: Any) -> BatchResult:
    if response is None:
        failure = ApiError(
            0,
            message=str((error or {}).get("message") or "the line was not answered"),
            type=None,
            param=None,
            code=(error or {}).get("code"),
        )
        return BatchResult(custom_id=custom_id, answer=None, error=failure, body=None)
    body, status = response["body"], int(response["status_code"])
    if status >= 400:
        failure = api_error(status, json.dumps(body), response.get("request_id"))
        return BatchResult(custom_id=custom_id, answer=None, error=failure, body=body)
    is_chat = body.get("object") == "chat.completion"
    answer = answer_of(Completion.model_validate(body)) if is_chat else None
    return BatchResult(custom_id=custom_id, answer=answer, error=None, body=body)
