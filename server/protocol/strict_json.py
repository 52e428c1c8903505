"""Parse the JSON of a request strictly, and refuse what would take long or can't be encoded again."""

import json
import math
from typing import Any

from server.errors import ApiError

MAX_VALUES = 250_000  # of one body; they are parsed in less than a tenth of a second


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the object in a body of JSON in which every number is finite: NaN is refused, and so is 1e999.

    Raises ApiError for everything else. Lone surrogates are refused because they can't be encoded as UTF-8.

    Python parses at some million values a second and lets nothing else run meanwhile, so their number is
    limited. Each value follows a comma or a bracket; those inside of strings count, too.
    """
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_VALUES:
        raise ApiError(
            f"The body holds more than {MAX_VALUES} commas and opening brackets. Send a smaller one.",
            status=413,
            code="request_too_large",
        )
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
        if rb"\ud" in raw.lower():
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise ApiError(
            "The body could not be parsed as JSON. Check that it is valid and UTF-8.", code="invalid_json"
        ) from None
    if not isinstance(body, dict):
        raise ApiError("The body must be a JSON object.", code="invalid_json")
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number
