"""End a streamed reply: send an exception as an error event, and note the error for the access log."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Scope

from server.errors import ApiError, internal_error
from server.protocol.error_forms import error_events
from server.protocol.event_stream import is_error

logger = logging.getLogger("internvl3.server")
STREAM_FAILED = "stream_failed"  # the key in the request's state under which the access log finds it


async def ended_stream(events: AsyncGenerator[str, None], scope: Scope) -> AsyncGenerator[str, None]:
    """Yield the events of a stream, and after an exception those by which its API tells of an error.

    The state in `scope`, which is the request's, gets the entry `STREAM_FAILED` when an event does so.
    """
    state = scope["state"]
    try:
        async with aclosing(events):
            async for event in events:
                if is_error(event):
                    state[STREAM_FAILED] = True
                yield event
    except Exception as error:
        failure = error if isinstance(error, ApiError) else internal_error()
        if failure is not error:
            logger.exception("a stream broke off")
        state[STREAM_FAILED] = True
        yield error_events(failure, scope["path"])
