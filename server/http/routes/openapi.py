"""The route of the OpenAPI document."""

import asyncio
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from server.http.json_reply import json_reply
from server.http.openapi import describe
from server.http.request import service_of
from server.services.service import Service

router = APIRouter()


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Return this document. It is there when the models are loaded, because their engine defines types."""
    service = service_of(request)
    return await json_reply(await asyncio.to_thread(_document, request.app, service))


def _document(app: FastAPI, service: Service) -> dict[str, Any]:
    """Return the document, which takes half a second to make, once."""
    if app.openapi_schema is None:
        app.openapi_schema = describe(app, service.api_schemas())
    return app.openapi_schema
