"""The routes of OpenAI's batches."""

from typing import Any

from fastapi import APIRouter, Request

from server.batches.batches import Batches, batch_object
from server.http.authentication import principal_of
from server.http.lists import list_reply, page_request
from server.http.request import read_json, service_of

router = APIRouter()
MOST_LISTED, LISTED = 100, 20


@router.post("/v1/batches")
async def create(request: Request) -> dict[str, Any]:
    """Create a batch, which is answered in the background."""
    batches = batches_of(request)
    body = await read_json(request, service_of(request).context.settings)
    return batch_object(await batches.create(principal_of(request), body))


@router.get("/v1/batches")
async def list_batches(request: Request) -> dict[str, Any]:
    """List the batches of the key."""
    page = page_request(request, default=LISTED, most=MOST_LISTED)
    rows, has_more = await batches_of(request).list_batches(principal_of(request), page)
    return list_reply([batch_object(row) for row in rows], has_more=has_more)


@router.get("/v1/batches/{batch_id}")
async def retrieve(request: Request, batch_id: str) -> dict[str, Any]:
    """Return how far a batch is."""
    return batch_object(await batches_of(request).retrieve(principal_of(request), batch_id))


@router.post("/v1/batches/{batch_id}/cancel")
async def cancel(request: Request, batch_id: str) -> dict[str, Any]:
    """Begin no more lines of a batch."""
    return batch_object(await batches_of(request).cancel(principal_of(request), batch_id))


def batches_of(request: Request) -> Batches:
    """Return the server's batches. Raises ApiError: 404 if it keeps no files, 503 while it starts."""
    service_of(request).file_store()
    batches = request.app.state.batches
    assert isinstance(batches, Batches), "the server opens its batches with its files"
    return batches
