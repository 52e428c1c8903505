"""Policy and Critic over any OpenAI-compatible server.

Both take an `httpx.AsyncClient` whose `base_url` ends in `/v1/` and which carries credentials and timeouts.
The critic here is the portable read-out: one request of one token per step. It works with every server that
returns log-probabilities, and is what faster read-outs are checked against.
"""

from collections.abc import Mapping
from typing import Any

import httpx

from ttscaling.types import (
    Conversation,
    Message,
)

# What a request or the reading of its reply can raise; the last four are replies of an unexpected shape.
FAILURES = (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError)


async def post_chat(
    client: httpx.AsyncClient,
    model: str,
    messages: tuple[Message, ...],
    conversation: Conversation,
    fields: Mapping[str, Any],
) -> Mapping[str, Any]:
    """The reply's JSON object; raises httpx.HTTPError, or ValueError where the body isn't JSON."""
    body = {"model": model, "messages": list(messages), **fields}
    if conversation.mm_processor_kwargs:  # vLLM's field; absent when unused, for servers that don't know it
        body["mm_processor_kwargs"] = dict(conversation.mm_processor_kwargs)
    response = await client.post("chat/completions", json=body)
    response.raise_for_status()
    return response.json()


def prompt_usage(reply: Mapping[str, Any]) -> tuple[int, int]:
    """Prompt tokens, and how many of them a prefix cache held."""
    usage = reply["usage"]
    return usage["prompt_tokens"], (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def failure_reason(error: Exception) -> str:
    """One line that says what went wrong, with the server's own words where it sent some."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}: {error.response.text[:500]}"
    if isinstance(error, httpx.HTTPError):
        return f"{type(error).__name__}: {error}"
    return f"unexpected reply ({type(error).__name__}: {error})"
