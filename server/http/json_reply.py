"""Send an object as JSON, so that a large one doesn't keep the server from other requests."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from server.protocol.json_pieces import json_bytes


async def json_reply(body: Mapping[str, Any]) -> Response:
    """Return the reply with status 200 and this body."""
    return Response(await json_bytes(body), media_type="application/json")
