"""The fields of a request for a new batch, and of each line of its file, checked."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from server.errors import ApiError, field_error

from .file_fields import Lifetime

CHAT, TEXT, SCORE = "/v1/chat/completions", "/v1/completions", "/v1/critic/score"
RESPONSES = "/v1/responses"
WINDOW_SECONDS = 86_400
LONGEST_CUSTOM_ID = 512  # characters


class BatchFields(BaseModel):
    """OpenAI's fields of a new batch."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/critic/score"]
    completion_window: Literal["24h"]
    metadata: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(max_length=64)],
                Annotated[str, StringConstraints(max_length=512)],
            ],
            Field(max_length=16),
        ]
        | None
    ) = None
    output_expires_after: Lifetime | None = None


class LineError(Exception):
    """A line of a batch's file is no request."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        """Keep what the client reads: a code of those in docs/batches.md, what is wrong, and the field."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def parse_batch(body: Mapping[str, Any]) -> BatchFields:
    """Return the fields of a new batch. Raises ApiError for a wrong one."""
    try:
        return BatchFields.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from None


def custom_id_of(line: Mapping[str, Any], endpoint: str) -> str:
    """Return the custom_id of a line, whose other fields are checked. Raises LineError for a wrong one."""
    for name in ("custom_id", "method", "url", "body"):
        if name not in line:
            raise LineError(
                "missing_required_parameter",
                f"Missing required parameter: '{name}'.",
                name,
            )
    custom_id = line["custom_id"]
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= LONGEST_CUSTOM_ID or "\0" in custom_id:
        raise LineError(
            "invalid_custom_id",
            f"The custom_id must be a text of 1 to {LONGEST_CUSTOM_ID} characters.",
            "custom_id",
        )
    if line["method"] != "POST":
        raise LineError("invalid_method", "The method must be POST.", "method")
    if line["url"] != endpoint:
        raise LineError("invalid_url", f"The url must be the batch's endpoint, {endpoint}.", "url")
    if not isinstance(line["body"], dict):
        raise LineError("invalid_body", "The body must be a JSON object.", "body")
    return custom_id


def body_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request in a valid line. Raises ApiError if it asks for a stream."""
    body: dict[str, Any] = line["body"]
    if body.get("stream"):
        raise ApiError(
            "stream: the results of a batch are no streams. Leave it out.",
            param="stream",
            code="unsupported_parameter",
        )
    return body
