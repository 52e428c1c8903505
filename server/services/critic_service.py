"""What a server does for others that use its critic: it describes the critic, and keeps their media."""

import asyncio
import hashlib
import re
from typing import Any

from server.access.principal import Principal
from server.engine_interface import CriticEngine, Engines
from server.errors import ApiError
from server.media.budget import Budget
from server.media.stored import Owner

from .context import ServerContext

NAME = re.compile(r"[0-9a-f]{64}")


def describe(critic: CriticEngine) -> dict[str, Any]:
    """Return what a server must know of the critic that it uses."""
    return {
        "object": "critic",
        "name": critic.name,
        "v2pe_delta": critic.v2pe_delta,
        "tile_size": critic.tile_size,
        "setup": None if critic.setup is None else dict(critic.setup),
    }


def media_owner(principal: Principal, cache_salt: str | None) -> Owner:
    """Return whose media a request may name: those of its key that were sent with the same `cache_salt`."""
    return principal.name, principal.cache_salt(cache_salt)


async def keep_medium(
    context: ServerContext,
    engines: Engines,
    principal: Principal,
    name: str,
    *,
    cache_salt: str | None,
    media_type: str,
    data: bytearray,
    budget: Budget,
) -> dict[str, Any]:
    """Check an image, or the tiles of a video, and keep it for questions that name it by its id.

    Args:
        context: the parts of the server.
        engines: its engines.
        principal: who sends it, and the only one who can use it.
        name: its id, which is the SHA-256 of `data` in hexadecimal digits.
        cache_salt: the questions must be sent with the same one.
        media_type: the type of an image, or `server.media.transfer.TILES`.
        data: the file of the image, or the tiles.
        budget: what the request may use.

    Raises:
        ApiError: the id is another one, or the medium can't be decoded or exceeds a limit.
    """
    if not NAME.fullmatch(name) or (await asyncio.to_thread(hashlib.sha256, data)).hexdigest() != name:
        raise ApiError(
            "The id in the path must be the SHA-256 of the body, in 64 lower-case hexadecimal digits.",
            param="id",
        )
    medium = await context.media.check_upload(media_type, data, engines.tiling, budget, param="body")
    context.stored_media.keep(media_owner(principal, cache_salt), name, medium)
    return {"object": "critic.media", "id": name, "bytes": len(data)}
