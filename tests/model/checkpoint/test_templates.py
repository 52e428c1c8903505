"""Conversation formats give the prompts of the published code (separator style MPT)."""

from hashlib import sha256
from typing import Any

import pytest

from model.checkpoint.templates import DEFAULT_TEMPLATE, chat_template, system_message
from tests.checkpoints import byte_tokenizer


def published_prompt(system: str, turns: list[tuple[str, str]], end: str) -> str:
    """Return `Conversation.get_prompt` for (role, text) pairs, with an open assistant turn at the end."""
    prompt = f"<|im_start|>system\n{system}" + end
    for role, text in turns:
        prompt += f"<|im_start|>{role}\n" + text + end
    return prompt + "<|im_start|>assistant\n"


def rendered(name: str, messages: list[dict[str, Any]], bos: str | None = None) -> str:
    tokenizer = byte_tokenizer()
    tokenizer.bos_token = bos
    prompt: str = tokenizer.apply_chat_template(
        messages, chat_template=chat_template(name), tokenize=False, add_generation_prompt=True
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
