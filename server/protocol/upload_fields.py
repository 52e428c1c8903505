"""The fields of requests about uploads, checked."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.errors import field_error

from .file_fields import Lifetime

Fields = TypeVar("Fields", bound=BaseModel)


class UploadFields(BaseModel):
    """OpenAI's fields of a new upload."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    filename: str = Field(min_length=1, max_length=1024)
    purpose: Literal["batch", "vision", "user_data"]
    bytes: int = Field(ge=1)
    mime_type: str = Field(min_length=1, max_length=256)
    expires_after: Lifetime | None = None


class CompletionFields(BaseModel):
    """OpenAI's fields of the request that makes a file of the parts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    part_ids: list[str] = Field(min_length=1, max_length=100_000)
    md5: str | None = None


def parse_fields(kind: type[Fields], body: Mapping[str, Any]) -> Fields:
    """Return the fields of a body. Raises ApiError for a wrong one."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from None
