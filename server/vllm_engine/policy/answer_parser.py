"""Reading an answer with vLLM's parsers before it is chosen, as they will read it for the reply.

Imports nothing of vLLM's: parser and request come from its chat handler.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .answer_validation import ParsedAnswer, ToolCall


def read_answer(
    make_parser: Callable[[], Any] | None, request: Any, *, auto: bool, text: str, token_ids: Sequence[int]
) -> ParsedAnswer:
    """What vLLM's reply would hold of this text. `make_parser`: a new parser of the handler's, None if it has
    none; `auto`: tool calls may come where the request doesn't demand them.
    """
    if make_parser is None:
        return ParsedAnswer(content=text)
    try:
        _, content, calls = make_parser().parse(
            text, request, enable_auto_tools=auto, model_output_token_ids=token_ids
        )
        broken = not calls and bool(request.tools) and _begins_call(make_parser(), request, text, token_ids)
    except Exception:  # some parsers raise whatever reading a call as JSON raises
        return ParsedAnswer(content=text, broken=True)
    return ParsedAnswer(
        content=content or "",
        calls=tuple(ToolCall(name=call.name, arguments=call.arguments) for call in calls or ()),
        broken=broken,
    )


def _begins_call(parser: Any, request: Any, text: str, token_ids: Sequence[int]) -> bool:
    """Whether a call begins in a text of which no whole call could be read. As a stream the parsers give what
    they can: the begun call itself, or the text less its markup.
    """
    delta = parser.parse_delta(
        delta_text=f"{text} ",  # a blank, since they hold back a "<" that ends the text
        delta_token_ids=list(token_ids),
        request=request,
        prompt_token_ids=[],
        finished=True,
    )
    if delta is None:
        return bool(text.strip())
    shown = (delta.reasoning or "") + (delta.content or "")
    return bool(delta.tool_calls) or len(shown.strip()) < len(text.strip())
