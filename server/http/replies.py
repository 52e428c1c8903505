"""Send what a service returns: a body as JSON, or its events as a stream."""

from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .json_reply import json_reply
from .request import until_disconnect
from .streams import ended_stream


async def reply_to(
    request: Request, work: Coroutine[Any, Any, dict[str, Any] | AsyncGenerator[str, None]]
) -> Response:
    """Return the reply that `work` makes to a request whose body was read.

    Raises what `work` raises, and ClientDisconnect if the client leaves before.
    """
    reply = await until_disconnect(request, work)
    if isinstance(reply, dict):
        return await json_reply(reply)
    # The header tells proxies such as nginx to pass each event on at once.
    events = ended_stream(reply, request.scope)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
