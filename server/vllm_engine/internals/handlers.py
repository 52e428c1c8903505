"""What vLLM's handlers don't offer: another client for one request, parsers, and how they convert."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def with_engine_client(handler: T, client: Any) -> T:
    """Return a copy of one of vLLM's handlers that asks another client; the original stays as it is."""
    other: Any = copy.copy(handler)
    other.engine_client = client
    result: T = other
    return result


def change_logprobs(chat_handler: Any, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Give one of vLLM's chat handlers another function that makes an answer's log-probabilities.

    `change` gets the handler's own and returns the other one.
    """
    chat_handler._create_chat_logprobs = change(chat_handler._create_chat_logprobs)


def parser_factory(chat_handler: Any, request: Any) -> Callable[[], Any] | None:
    """Return what makes vLLM's parsers of reasoning and tool calls for a chat request.

    Return None if the handler has no such parser.
    """
    if chat_handler.parser_cls is None:
        return None

    def new_parser() -> Any:
        options = chat_handler._effective_chat_template_kwargs(request)
        return chat_handler._make_parser(request, chat_handler.renderer.tokenizer, options)

    return new_parser


def merges_inline_system(messages_handler: Any) -> bool:
    """Return whether vLLM's handler of Anthropic's messages moves system messages to the beginning."""
    merges: bool = messages_handler._merge_inline_system
    return merges
