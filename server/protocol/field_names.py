"""Name the fields of another API in errors that were written for a chat request."""

import re
from collections.abc import Mapping

from server.errors import ApiError


def renamed(error: ApiError, names: Mapping[str, str]) -> ApiError:
    """Return the error with other names of fields in its message and its `param`.

    `names` holds the names by those in chat requests.
    """
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")

    def other_name(match: re.Match[str]) -> str:
        return names[match[1]]

    return ApiError(
        pattern.sub(other_name, error.message),
        status=error.status,
        param=None if error.param is None else pattern.sub(other_name, error.param),
        code=error.code,
        can_retry=error.can_retry,
        retry_after=error.retry_after,
        kind=error.kind,
    )
