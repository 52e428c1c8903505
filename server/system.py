"""The system message that a conversation begins with where it has none of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "developer")


def with_system(messages: Sequence[Mapping[str, Any]], system: str | None) -> list[Mapping[str, Any]]:
    """The messages, `system` in front unless one of them is a system message already, be it an empty one.

    Nothing is put in front where `system` is empty or None.
    """
    own = any(message.get("role") in ROLES for message in messages)
    if own or not system:
        return list(messages)
    return [{"role": "system", "content": system}, *messages]
