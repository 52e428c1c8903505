"""Conversation formats give the prompts of the published code (separator style MPT)."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from model.checkpoint.templates import DEFAULT_TEMPLATE, chat_template, system_message
from tests.checkpoints import byte_tokenizer

PUBLISHED = Path(__file__).parents[4] / "shared/published"


def published_prompt(system: str, turns: list[tuple[str, str]], end: str) -> str:
    """Return `Conversation.get_prompt` for (role, text) pairs, with an open assistant turn at the end."""
    prompt = f"<|im_start|>system\n{system}" + end
    for role, text in turns:
        prompt += f"<|im_start|>{role}\n" + text + end
    return prompt + "<|im_start|>assistant\n"


def rendered(
    name: str,
    messages: list[dict[str, Any]],
    bos: str | None = None,
    tools: list[dict[str, Any]] | None = None,
) -> str:
    tokenizer = byte_tokenizer()
    tokenizer.bos_token = bos
    prompt: str = tokenizer.apply_chat_template(
        messages, tools=tools, chat_template=chat_template(name), tokenize=False, add_generation_prompt=True
    )
    return prompt


@pytest.mark.parametrize(
    ("name", "end"),
    [("internvl2_5", "<|im_end|>\n"), ("internlm2-chat", "<|im_end|>"), ("Hermes-2", "<|im_end|>")],
)
def test_a_conversation_is_written_as_published(name: str, end: str):
    turns = [("user", "<image>\nWhat  is\nit? "), ("assistant", "A cat."), ("user", " Sure?\n")]
    messages = [{"role": "system", "content": system_message(name)}]
    messages += [{"role": role, "content": text} for role, text in turns]
    assert rendered(name, messages) == published_prompt(system_message(name), turns, end)


def test_parts_become_placeholders_in_their_order():
    parts = [
        {"type": "text", "text": "First "},
        {"type": "image"},
        {"type": "text", "text": "then "},
        {"type": "video"},
        {"type": "text", "text": "what?"},
    ]
    assert rendered("internvl2_5", [{"role": "user", "content": parts}]) == (
        "<|im_start|>user\nFirst <image>\nthen <video>\nwhat?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_message_without_content_is_an_empty_turn():
    assert rendered("internvl2_5", [{"role": "assistant", "content": None}]) == (
        "<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_token_for_the_beginning_of_a_text_is_used_where_there_is_one():
    messages = [{"role": "user", "content": "Hi"}]
    assert rendered("internlm2-chat", messages, bos="<s>").startswith("<s><|im_start|>user\n")
    assert rendered("internlm2-chat", messages).startswith("<|im_start|>user\n")


TOOLS = [
    {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "stop", "description": "Ends.", "parameters": {}}},
]
CALLS = [
    {"type": "function", "function": {"name": "find", "arguments": {"a": "b"}}},
    {"type": "function", "function": {"name": "stop", "arguments": {}}},
]
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "", "tool_calls": CALLS},
    {"role": "tool", "content": "one"},
    {"role": "tool", "content": "two"},
    {"role": "assistant", "content": "Well.", "tool_calls": CALLS[:1]},
    {"role": "tool", "content": "three"},
    {"role": "user", "content": "Bye"},
]


def test_tools_are_written_as_qwen_writes_them():
    written = rendered("internvl2_5", CONVERSATION, tools=TOOLS)
    assert written.startswith(
        "<|im_start|>system\nBe brief.\n\n# Tools\n\nYou may call one or more functions"
    )
    assert (
        '<tools>\n{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}\n'
        '{"type": "function", "function": {"name": "stop", "description": "Ends.", "parameters": {}}}\n'
        "</tools>"
    ) in written
    assert written.endswith(
        "<|im_start|>user\nHi<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "find", "arguments": {"a": "b"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\none\n</tool_response>\n"
        "<tool_response>\ntwo\n</tool_response><|im_end|>\n"
        '<|im_start|>assistant\nWell.\n<tool_call>\n{"name": "find", "arguments": {"a": "b"}}\n</tool_call>'
        "<|im_end|>\n<|im_start|>user\n<tool_response>\nthree\n</tool_response><|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tools_without_a_system_message_get_a_turn_of_their_own():
    written = rendered("internvl2_5", CONVERSATION[1:2], tools=TOOLS)
    assert written.startswith("<|im_start|>system\n# Tools\n\nYou may call one or more functions")
    assert written.endswith("</tool_call><|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published files are not part of the repository")
def test_tools_are_written_as_in_the_file_of_internvl3():
    """InternVL3-8B's tokenizer carries Qwen2.5's template. The comparison has a system message for that."""
    carried = json.loads((PUBLISHED / "InternVL3-8B/tokenizer_config.json").read_text())["chat_template"]
    tokenizer = byte_tokenizer()
    for tools in (TOOLS, None):
        expected = tokenizer.apply_chat_template(
            CONVERSATION, tools=tools, chat_template=carried, tokenize=False, add_generation_prompt=True
        )
        assert rendered("internvl2_5", CONVERSATION, tools=tools) == expected


def test_system_messages_are_the_published_ones():
    """Digests are `sha256(get_conv_template(name).system_message.encode())`, OpenGVLab/InternVL @ 2410d1d."""
    published = {
        "internvl2_5": "bdb4d179c4c458dd9bd365588d3fd15aba0f2b755b4b192383416f610ad3396e",
        "internlm2-chat": "da22fdde9f422876a0b725a4ecec9f15005bfaad700d33c87fe6f29b0bd09447",
        "Hermes-2": "da22fdde9f422876a0b725a4ecec9f15005bfaad700d33c87fe6f29b0bd09447",
    }
    assert DEFAULT_TEMPLATE in published
    for name, digest in published.items():
        assert sha256(system_message(name).encode()).hexdigest() == digest


def test_an_unknown_template_is_refused():
    with pytest.raises(
        ValueError, match="'phi3-chat' isn't supported: use Hermes-2, internlm2-chat, internvl2_5"
    ):
        chat_template("phi3-chat")
