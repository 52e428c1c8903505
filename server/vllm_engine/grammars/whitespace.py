"""Keep the white space in forced tool calls short, so that a model can't write it until max_tokens.

Forced tool calls are structural tags, for which vLLM has no setting (docs/decisions/0034).
"""

import json
from typing import Any


def limit_tag_whitespace(tag: str) -> str:
    """Return a structural tag whose JSON has at most one white space between two tokens.

    A limit that the tag itself names stays, and so does a tag that isn't JSON, which vLLM refuses.
    """
    try:
        parsed = json.loads(tag)
    except (ValueError, RecursionError):
        return tag
    left: list[Any] = [parsed]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if value.get("type") == "json_schema" and value.get("max_whitespace_cnt") is None:
                value["max_whitespace_cnt"] = 1
            left += [entry for key, entry in value.items() if key != "json_schema"]
        elif isinstance(value, list):
            left += value
    return json.dumps(parsed)
