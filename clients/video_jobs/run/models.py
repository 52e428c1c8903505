"""Ask a server which model answers, so that the results of two models never mix."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx

from clients.sdk.errors import api_error

from .failures import ServerGone, WrongServer
from .servers import Server

PAUSE = 1.0  # seconds between two looks for a server
VERSION = "version"  # of the server's program, which may be updated while a job runs


async def model_identity(server: Server, model: str | None) -> Mapping[str, Any]:
    """Return what a server states about a model, by default about its first one.

    An internvl3 server states the digests of its checkpoints and the settings that answers depend on. Of
    another server it is the model's name, with vLLM also its path and window. It is empty where a server
    lists no models. Raises WrongServer if the server has no such model or refuses the key, and
    httpx.HTTPError if it is away or still loads.
    """
    response = await server.get("/v1/models")
    if response.status_code in (401, 403):
        error = api_error(response.status_code, response.content)
        raise WrongServer(f"{error}: set the key with --api-key or INTERNVL3_API_KEY")
    if response.status_code == httpx.codes.NOT_FOUND:
        return {}
    response.raise_for_status()
    try:
        cards = {str(card["id"]): card for card in response.json()["data"]}
    except (ValueError, KeyError, TypeError):
        return {}
    card = cards.get(model or next(iter(cards), ""))
    if card is None:
        raise WrongServer(
            f"the server at {server.url} has no model {model or ''}: its are {', '.join(cards) or 'none'}"
        )
    if "setup" in card:
        if not card["setup"]:
            raise httpx.HTTPStatusError("the models load", request=response.request, response=response)
        return {"model": card["id"], **{k: v for k, v in card["setup"].items() if k != VERSION}}
    named = {name: card[name] for name in ("root", "max_model_len") if name in card}
    return {"model": card["id"], **named}


async def first_model(
    servers: Sequence[Server], model: str | None, *, patience: float, say: Callable[[str], None]
) -> Mapping[str, Any]:
    """Return the identity of the model of the first server that is ready, and wait until one is.

    Raises WrongServer as `model_identity` does, and ServerGone after `patience` seconds.
    """
    addresses = ", ".join(server.url for server in servers)
    deadline = time.monotonic() + patience
    is_told = False
    while True:
        for server in servers:
            try:
                if await server.is_ready():
                    return await model_identity(server, model)
            except httpx.HTTPError:
                pass  # it went away again
        if time.monotonic() >= deadline:
            raise ServerGone(f"no server answers at {addresses}; start one with: internvl3 serve")
        if not is_told:
            say(f"no server is ready at {addresses} (internvl3 serve starts one); waiting for it")
            is_told = True
        await asyncio.sleep(PAUSE)


def same_model(identity: Mapping[str, Any], model: str | None) -> Callable[[Server], Awaitable[None]]:
    """Return a check that raises WrongServer for a server whose model isn't the one of this identity."""

    async def check(server: Server) -> None:
        found = await model_identity(server, model)
        if found != identity:
            names = [name for name in {**identity, **found} if identity.get(name) != found.get(name)]
            raise WrongServer(
                f"the server at {server.url} has another model than this job began with ({', '.join(names)} "
                "differs): start it with the first one, or name another --out"
            )

    return check
