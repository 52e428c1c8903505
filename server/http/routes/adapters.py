"""The routes that load and unload LoRA adapters while the server runs; paths and fields are vLLM's."""

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse

from server.http.call import read_call

router = APIRouter()


@router.post("/v1/load_lora_adapter", response_class=PlainTextResponse)
async def load(request: Request) -> PlainTextResponse:
    """Load an adapter of the policy. It needs an admin key."""
    call = await read_call(request)
    return PlainTextResponse(await call.service.load_adapter(call.principal, call.body))


@router.post("/v1/unload_lora_adapter", response_class=PlainTextResponse)
async def unload(request: Request) -> PlainTextResponse:
    """Unload an adapter, which ends no request. It needs an admin key, and returns when its room is free."""
    call = await read_call(request)
    return PlainTextResponse(await call.service.unload_adapter(call.principal, call.body))
