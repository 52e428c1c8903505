"""What the log and the traces say of one line of a batch, as they do of a request."""

import logging
import time
from typing import Any

from server.access.principal import Principal
from server.database.line_rows import Line
from server.telemetry.request_record import CURRENT_RECORD, RequestRecord
from server.telemetry.tracing import CURRENT_TRACE, Tracing

logger = logging.getLogger("internvl3.server")
GIVEN_BACK = "given back"  # how a line ends that gets no result now


class LineRecord:
    """The record of the line that the task of this call answers, from its beginning to its end."""

    def __init__(self, line: Line, principal: Principal, request_id: str, tracing: Tracing | None) -> None:
        """Begin the record, and a trace if `tracing` isn't None. The work of this task belongs to both."""
        self._line = line
        self._request_id = request_id
        self._record = RequestRecord(key=principal.name)
        CURRENT_RECORD.set(self._record)
        self._span = None if tracing is None else tracing.begin_request(f"BATCH {line.batch.endpoint}", {})
        if self._span is not None:
            CURRENT_TRACE.set(self._span.trace)
        self._begun = time.perf_counter()

    def note_error(self, code: str | None, param: str | None) -> None:
        """Keep which error the line has met."""
        self._record.note_error(code, param)

    def end(self, status: int | None) -> None:
        """Write the line of the log. `status` is that of the result; None if the line was given back."""
        batch, seconds, record = self._line.batch, time.perf_counter() - self._begun, self._record
        known = record.known()
        place: dict[str, Any] = {
            "request_id": self._request_id,
            "batch": batch.id,
            "line": self._line.number,
            "route": batch.endpoint,
            **({"end": GIVEN_BACK} if status is None else {"status": status}),
        }
        outcome = GIVEN_BACK if status is None else status
        text = "".join(f" {name}={value}" for name, value in known.items())
        logger.info(
            "%s",
            f"BATCH {batch.endpoint} {outcome} {seconds:.3f}s {self._request_id} line {self._line.number} of "
            f"{batch.id}{text}",
            extra={"fields": {**place, "seconds": round(seconds, 3), **known}},
        )
        if self._span is not None:
            attributes: dict[str, Any] = {
                "http.route": batch.endpoint,
                "http.response.status_code": status,
                "error.type": record.code,
                "internvl3.request_id": self._request_id,
                "internvl3.batch": batch.id,
                "internvl3.key": record.key,
                "internvl3.prompt_tokens": record.usage.prompt or None,
                "internvl3.completion_tokens": record.usage.completion or None,
                "gen_ai.request.model": record.model,
            }
            self._span.end(**attributes)
