"""End a streamed reply: send an exception as an error event, and note the error for the access log."""

import logging
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import aclosing
from typing import Any

from server.errors import ApiError, internal_error
from server.protocol.event_stream import DONE, is_error, write_event

logger = logging.getLogger("internvl3.server")
STREAM_FAILED = "stream_failed"  # the key in the request's state under which the access log finds it


async def ended_stream(
    events: AsyncGenerator[str, None], state: MutableMapping[str, Any]
) -> AsyncGenerator[str, None]:
    """Yield the events of a stream, and an error event and [DONE] after an exception.

    `state` gets the entry `STREAM_FAILED` when an event tells of an error.
    """
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
        yield write_event(failure.body)
        yield DONE
