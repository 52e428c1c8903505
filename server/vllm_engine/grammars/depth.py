"""How deeply a schema is nested."""

from typing import Any

LEVELS = 256  # vLLM copies schemas, and Python's stack ends at some hundred levels


def is_deep(schema: Any) -> bool:
    """Return whether a schema has more than `LEVELS` objects and lists inside each other."""
    level = [schema]
    for _ in range(LEVELS):
        containers = [
            each.values() if isinstance(each, dict) else each for each in level if _holds_others(each)
        ]
        level = [entry for container in containers for entry in container]
        if not level:
            return False
    return any(map(_holds_others, level))


def _holds_others(value: Any) -> bool:
    return isinstance(value, dict | list)
