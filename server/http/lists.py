"""Read which page of a list a client wants, and write the page as OpenAI's lists are written."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from starlette.requests import Request

from server.database.pages import Order, PageRequest
from server.errors import ApiError

ORDERS = ("asc", "desc")


def page_request(request: Request, *, default: int, most: int) -> PageRequest:
    """Return the page that the query names by `limit`, `after` and `order`.

    `default` is the limit if the client names none, and `most` the largest. A wrong value raises ApiError.
    """
    query = request.query_params
    limit = query.get("limit", str(default))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= most):
        raise ApiError(f"limit: use a number from 1 to {most}.", param="limit")
    order = query.get("order", "desc")
    if order not in ORDERS:
        raise ApiError("order: use asc or desc.", param="order")
    return PageRequest(limit=int(limit), after=query.get("after"), order=cast(Order, order))


def list_reply(objects: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Return OpenAI's list object."""
    return {
        "object": "list",
        "data": list(objects),
        "first_id": objects[0]["id"] if objects else None,
        "last_id": objects[-1]["id"] if objects else None,
        "has_more": has_more,
    }
