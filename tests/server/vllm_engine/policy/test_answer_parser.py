"""Answers parsed by vLLM's tool parsers: complete calls, incomplete calls, and text.

In the real vocabulary `<tool_call>` is one token; in that of bytes it's eleven.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser import ParserManager

from server.vllm_engine.policy.answer_parser import read_answer
from server.vllm_engine.policy.answer_validation import ParsedAnswer, ToolCall
from tests.checkpoints import byte_tokenizer

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
Read = Callable[..., ParsedAnswer]


@pytest.fixture(scope="module", params=["bytes", "real"])
def read(request: pytest.FixtureRequest, qwen_tokenizer: Path) -> Read:
    """Return a function that parses an answer, which has the tokens of one of two vocabularies."""
    kind: Literal["bytes", "real"] = request.param
    tokenizer = byte_tokenizer() if kind == "bytes" else AutoTokenizer.from_pretrained(qwen_tokenizer)
    assert len(tokenizer.encode("<tool_call>", add_special_tokens=False)) == (11 if kind == "bytes" else 1)
    return lambda text, **options: parsed(tokenizer, text, **options)


def parsed(tokenizer: Any, text: str, *, parser: str = "hermes", **body: Any) -> ParsedAnswer:
    body_with_tools = {"messages": [{"role": "user", "content": "x"}], "tools": [TOOL], **body}
    request = ChatCompletionRequest.model_validate(body_with_tools)
    parser_class = ParserManager.get_parser(
        tool_parser_name=parser,
        reasoning_parser_name="",
        enable_auto_tools=True,
        tool_strict_level="auto",
        model_name="nano",
        is_harmony=False,
        tokenizer=tokenizer,
    )
    return read_answer(
        lambda: parser_class(tokenizer, request.tools, chat_template_kwargs={}, model_config=None),
        request,
        auto=True,
        text=text,
        token_ids=tokenizer.encode(text),
    )


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "add"}}])
def test_complete_calls(read: Read, choice: Any):
    one = ToolCall(name="add", arguments='{"a": 1}')
    assert read(CALL, tool_choice=choice).calls == (one,)
    assert read(CALL + CALL, tool_choice=choice).calls == (one, one)
    assert read(f"I add. {CALL}", tool_choice=choice) == ParsedAnswer(content="I add. ", calls=(one,))


@pytest.mark.parametrize("length", range(len("<tool_call>"), len(CALL) - len("}</tool_call>")))
def test_a_call_that_was_cut_off_anywhere(read: Read, length: int):
    assert read(f"I add. {CALL[:length]}").broken


@pytest.mark.parametrize("text", ["text", "a < b", "ends with <", "x <tool>", '{"a": 1}', "", " padded \n"])
def test_text_calls_nothing(read: Read, text: str):
    assert read(text) == ParsedAnswer(content=text)


def test_a_parser_that_raises_has_found_no_call(read: Read):
    assert read('<|action_start|><|plugin|>{"name":"add","parameters":{"a"', parser="internlm").broken


def test_without_a_parser_all_is_text():
    assert read_answer(None, None, auto=False, text=CALL, token_ids=[]) == ParsedAnswer(content=CALL)
