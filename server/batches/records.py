"""Write the lines of the files with results and errors, in OpenAI's format."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from server.database.batch_rows import CANCELLED, EXPIRED, FAILED
from server.protocol.json_pieces import json_bytes

# What the error file says of lines that nobody answered, by how their batch ended.
UNANSWERED = {
    EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    CANCELLED: ("batch_cancelled", "This request was not executed because its batch was cancelled."),
    FAILED: ("batch_failed", "This request was not executed because its batch failed; see its `errors`."),
}


def new_request_id() -> str:
    """Return an id for one answered line."""
    return f"batch_req_{secrets.token_hex(16)}"


async def answered(request_id: str, custom_id: str, status: int, body: Mapping[str, Any]) -> str:
    """Return the record of a line with the status and the body that its endpoint would have answered."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    record = {"id": request_id, "custom_id": custom_id, "response": response, "error": None}
    return (await json_bytes(record)).decode()


def unanswered(custom_id: str, outcome: str) -> str:
    """Return the record of a line that was not answered, because its batch ended with this status."""
    code, message = UNANSWERED[outcome]
    error = {"code": code, "message": message}
    record = {"id": new_request_id(), "custom_id": custom_id, "response": None, "error": error}
    return json.dumps(record, ensure_ascii=False)
