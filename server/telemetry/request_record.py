"""What the log says of a request, and what its metrics count: collected while the request runs.

It holds names and numbers only: never what a client has sent or got.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from server.errors import UNKNOWN_FIELD
from ttscaling.types import TokenUsage

FINISH_REASON = re.compile(r'"finish_reason":\s*"(\w{1,32})"')
FIELD = re.compile(r"\w{1,64}(\[\d{1,9}\])*", re.ASCII)
OURS = "test_time_scaling"  # its fields have fixed names


@dataclass(kw_only=True)
class RequestRecord:
    """One request. Its fields are None as long as they aren't known."""

    key: str | None = None  # the name of the API key
    model: str | None = None
    stop: str | None = None  # the finish reason of the first choice
    code: str | None = None  # of the error that the client got
    param: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)

    def known(self) -> dict[str, Any]:
        """Return what is known, by the names that the log has for it."""
        fields: dict[str, Any] = {
            "key": self.key,
            "model": self.model,
            "prompt_tokens": self.usage.prompt or None,
            "completion_tokens": self.usage.completion or None,
            "critic_tokens": self.usage.critic_prompt or None,
            "stop": self.stop,
            "code": self.code,
            "param": self.param,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def note_error(self, code: str | None, param: str | None) -> None:
        """Keep which error the client gets. A client's own names of fields are left out of `param`."""
        self.code = code
        self.param = None if code == UNKNOWN_FIELD or not param else _own_part(param)

    def note_reply(self, reply: Mapping[str, Any]) -> None:
        """Keep the finish reason of a whole reply."""
        self.stop = reply["choices"][0]["finish_reason"] if reply["choices"] else None

    def note_event(self, event: str) -> None:
        """Keep the finish reason if this event of a stream has one."""
        if self.stop is None and (found := FINISH_REASON.search(event)):
            self.stop = found[1]

    def counting(self, count: Callable[[TokenUsage], None]) -> Callable[[TokenUsage], None]:
        """Return a function that counts tokens here, too."""

        def count_both(usage: TokenUsage) -> None:
            self.usage += usage
            count(usage)

        return count_both


CURRENT_RECORD: ContextVar[RequestRecord | None] = ContextVar("internvl3_request_record", default=None)


def current_record() -> RequestRecord:
    """Return the record of the request that this task works for, or one that nobody reads."""
    return CURRENT_RECORD.get() or RequestRecord()


def _own_part(param: str) -> str | None:
    """Return the part of a field's path that has fixed names, such as `messages[0]` of `messages[0].x`."""
    if param.startswith(f"{OURS}."):
        return param[:128]
    found = FIELD.match(param)
    return None if found is None else found[0]
