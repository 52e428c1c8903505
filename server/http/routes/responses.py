"""The routes of OpenAI's Responses API."""

from fastapi import APIRouter, Request, Response

from server.errors import ApiError
from server.http.call import read_call
from server.http.replies import reply_to

router = APIRouter()


@router.post("/v1/responses")
async def responses(request: Request) -> Response:
    """Answer a conversation of input items, with test-time scaling and V2PE where the body asks for them."""
    call = await read_call(request)
    return await reply_to(request, call.service.respond(call.principal, call.engine_body, call.budget))


@router.get("/v1/responses/{response_id}")
@router.delete("/v1/responses/{response_id}")
@router.get("/v1/responses/{response_id}/input_items")
@router.post("/v1/responses/{response_id}/cancel")
async def stored_response(response_id: str) -> Response:
    """Raise ApiError (404): nothing is stored."""
    raise ApiError(
        f"There is no response {response_id[:100]!r}, because this server stores none. Send the whole "
        "conversation in `input`, and read each response where it is returned.",
        status=404,
        param="response_id",
        code="response_not_found",
    )
