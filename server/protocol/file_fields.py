"""The fields of requests about files, checked."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from server.errors import MISSING_FIELD, UNKNOWN_FIELD, ApiError

ANCHOR = "expires_after[anchor]"
SECONDS = "expires_after[seconds]"
SHORTEST, LONGEST = 3600, 30 * 86_400  # seconds until a file expires, as OpenAI allows


class Lifetime(BaseModel):
    """When a file expires."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    anchor: Literal["created_at"]
    seconds: int = Field(ge=SHORTEST, le=LONGEST)


def purpose_of(fields: Mapping[str, str], purposes: Sequence[str]) -> str:
    """Return the purpose of a new file. Raises ApiError for any other field than those of a new file."""
    for name in fields:
        if name not in ("purpose", ANCHOR, SECONDS):
            raise ApiError(
                f"{name[:100]}: there is no such field. Send file, purpose and expires_after.",
                param=name[:100],
                code=UNKNOWN_FIELD,
            )
    if "purpose" not in fields:
        raise ApiError("purpose: the form lacks this field.", param="purpose", code=MISSING_FIELD)
    return checked_purpose(fields["purpose"], purposes)


def checked_purpose(purpose: str, purposes: Sequence[str]) -> str:
    """Return a purpose that is one of those allowed. Raises ApiError for another one."""
    if purpose not in purposes:
        raise ApiError(f"purpose: use one of {', '.join(purposes)}.", param="purpose")
    return purpose


def lifetime_of(fields: Mapping[str, str]) -> int | None:
    """Return the seconds until a new file expires, or None if it stays."""
    if ANCHOR not in fields and SECONDS not in fields:
        return None
    return checked_lifetime(fields.get(ANCHOR), fields.get(SECONDS, ""))


def checked_lifetime(anchor: object, seconds: object) -> int:
    """Return the seconds of an `expires_after`. Raises ApiError if they are out of OpenAI's range."""
    if anchor != "created_at":
        raise ApiError("expires_after.anchor: use created_at.", param="expires_after.anchor")
    digits = str(seconds)
    if not (digits.isascii() and digits.isdecimal() and SHORTEST <= int(digits[:9]) <= LONGEST):
        raise ApiError(
            f"expires_after.seconds: use a number from {SHORTEST} to {LONGEST}.",
            param="expires_after.seconds",
        )
    return int(digits)
