"""Parse a candidate with vLLM's parsers, as vLLM would parse it for the reply.

This file doesn't import vLLM: vLLM's chat handler passes the parser and the request in.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .answer_validation import ParsedAnswer, ToolCall


def read_answer(
    make_parser: Callable[[], Any] | None, request: Any, *, auto: bool, text: str, token_ids: Sequence[int]
) -> ParsedAnswer:
    """Return the content and the tool calls that vLLM's reply would hold for this text.

    Args:
        make_parser: returns a new parser; None if the chat handler has no parser.
        request: vLLM's chat request.
        auto: whether the model may call tools that the request offers but doesn't demand.
        text: the text of the candidate.
        token_ids: the tokens of the candidate.
    """
    if make_parser is None:
        return ParsedAnswer(content=text)
    try:
        _, content, calls = make_parser().parse(
            text, request, enable_auto_tools=auto, model_output_token_ids=token_ids
        )
        broken = not calls and bool(request.tools) and _begins_call(make_parser(), request, text, token_ids)
    except Exception:  # some parsers raise the errors of their JSON decoder
        return ParsedAnswer(content=text, broken=True)
    return ParsedAnswer(
        content=content or "",
        calls=tuple(ToolCall(name=call.name, arguments=call.arguments) for call in calls or ()),
        broken=broken,
    )


def _begins_call(parser: Any, request: Any, text: str, token_ids: Sequence[int]) -> bool:
    """Return whether a tool call begins in a text without a complete tool call.

    In streaming mode the parsers return as much as they can: either the incomplete call itself, or the text
    without the call's markup.
    """
    delta = parser.parse_delta(
        delta_text=f"{text} ",  # without this blank the parsers hold back a "<" at the end
        delta_token_ids=list(token_ids),
        request=request,
        prompt_token_ids=[],
        finished=True,
    )
    if delta is None:
        return bool(text.strip())
    shown = (delta.reasoning or "") + (delta.content or "")
    return bool(delta.tool_calls) or len(shown.strip()) < len(text.strip())
