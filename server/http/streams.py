"""End a streamed reply: send an exception as an error event, and note the error for the access log."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Scope

from server.errors import ApiError, internal_error
from server.protocol.error_forms import error_events
from server.protocol.event_stream import is_error, read_event
from server.telemetry.request_record import current_record

logger = logging.getLogger("internvl3.server")
STREAM_FAILED = "stream_failed"  # the key in the request's state under which the access log finds it


async def ended_stream(events: AsyncGenerator[str, None], scope: Scope) -> AsyncGenerator[str, None]:
    """Yield the events of a stream, and after an exception those by which its API tells of an error.

    The state in `scope`, which is the request's, gets the entry `STREAM_FAILED` when an event does so.
    """
    state = scope["state"]
    record = current_record()
    try:
        async with aclosing(events):
            async for event in events:
                record.note_event(event)
                if is_error(event):
                    state[STREAM_FAILED] = True
                    error = read_event(event)["error"]
                    record.note_error(error.get("code"), error.get("param"))
                yield event
    except Exception as failed:
        failure = failed if isinstance(failed, ApiError) else internal_error()
        if failure is not failed:
            logger.exception("a stream broke off")
        state[STREAM_FAILED] = True
        record.note_error(failure.code, failure.param)
        yield error_events(failure, scope["path"])
