"""Chat requests of the remote policy and critic, and the reasons why a request failed.

`post_chat` takes an `httpx.AsyncClient` whose `base_url` ends in `/v1/`; it carries credentials and timeouts.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx

from ttscaling.types import Conversation, Message

from .retries import PAUSES, send_again

# What a request, or reading its reply, can raise. The last four mean that the reply has an unexpected shape.
FAILURES = (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError)


async def post_chat(
    client: httpx.AsyncClient,
    model: str,
    messages: tuple[Message, ...],
    conversation: Conversation,
    fields: Mapping[str, Any],
    *,
    pauses: Sequence[float] = PAUSES,
) -> Mapping[str, Any]:
    """Post a chat request and return the JSON object of the reply.

    `fields` are the fields of the request besides `model` and `messages`. While the server is busy or can't
    be reached, the request is sent again after each of `pauses`, or after the seconds of `Retry-After`.
    Raises httpx.HTTPError, and ValueError if the reply isn't JSON.
    """
    body = {"model": model, "messages": list(messages), **fields}
    if (
        conversation.mm_processor_kwargs
    ):  # only vLLM knows this field, so it is sent only if it says something
        body["mm_processor_kwargs"] = dict(conversation.mm_processor_kwargs)
    response = await send_again(lambda: client.post("chat/completions", json=body), pauses)
    response.raise_for_status()
    return response.json()


def prompt_usage(reply: Mapping[str, Any]) -> tuple[int, int]:
    """Return the prompt tokens of a reply, and how many of them a prefix cache held."""
    usage = reply["usage"]
    return usage["prompt_tokens"], (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def known_usage(reply: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the prompt tokens, cached ones and written ones of a reply of any shape; 0 if unknown."""
    with suppress(*FAILURES, AttributeError):
        return *prompt_usage(reply), int(reply["usage"]["completion_tokens"])
    return 0, 0, 0


def failure_reason(error: Exception) -> str:
    """Return a line that says what went wrong, with the server's words if it sent some."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}: {error.response.text[:500]}"
    if isinstance(error, httpx.HTTPError):
        return f"{type(error).__name__}: {error}"
    return f"unexpected reply ({type(error).__name__}: {error})"
