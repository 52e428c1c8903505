"""TODO: what this file is about."""

from typing import Any

from fastapi import APIRouter, Request

from server.errors import model_not_found
from server.http.request import context_of
from server.protocol.chat_call import served_models
from server.services.context import ServerContext

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The served name and its Best-of-8 alias."""
    state = context_of(request)
    return {"object": "list", "data": [_card(state, name) for name in served_models(state.settings)]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    state = context_of(request)
    served = served_models(state.settings)
    if name not in served:
        raise model_not_found(name, served)
    return _card(state, name)


def _card(state: ServerContext, name: str) -> dict[str, Any]:
    """OpenAI's model object, with the window as vLLM's has it."""
    window = None if state.engine is None else state.engine.max_model_len
    return {
        "id": name,
        "object": "model",
        "created": state.started,
        "owned_by": "internvl3-serving",
        "max_model_len": window,
    }
