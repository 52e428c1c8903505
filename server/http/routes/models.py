"""The routes that list the served models."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request

from server.errors import model_not_found
from server.http.request import service_of
from server.protocol.chat_call import resolve_model, served_models
from server.services.context import ServerContext, adapter_names

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """List the served name and, with a critic, its Best-of-8 alias. Without a policy it is the critic's."""
    context = service_of(request).context
    served = served_models(context.settings, adapter_names(context))
    return {"object": "list", "data": [_card(context, name) for name in served]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """Return one of the listed models. Raises ApiError for another name."""
    context = service_of(request).context
    served = served_models(context.settings, adapter_names(context))
    if name not in served:
        raise model_not_found(name, served)
    return _card(context, name)


def _card(context: ServerContext, name: str) -> dict[str, Any]:
    """Return OpenAI's model object, and in it the context window under vLLM's name for it, and our `setup`.

    Both are null while the models load. `parent` is the policy for its LoRA adapters, as in vLLM's lists.
    """
    engines = context.engines
    base, _ = resolve_model(name, context.settings, adapter_names(context))
    setup = None if engines is None else engines.setup
    return {
        "id": name,
        "object": "model",
        "created": context.started,
        "owned_by": "internvl3-serving",
        "parent": None if base == context.settings.served_name else context.settings.served_name,
        "max_model_len": None if engines is None else engines.max_model_len,
        "setup": None if setup is None else {"version": version("internvl3-serving"), **setup},
    }
