"""Conversations are encoded in the published template, and exactly the assistants' texts are marked."""

import numpy as np
import pytest

from model.checkpoint.templates import DEFAULT_TEMPLATE, chat_template, system_message
from model.image_tokens import IMAGE_CONTEXT
from tests.checkpoints import byte_tokenizer
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import Turn
from ttscaling.train.samples.chat_encoder import ChatEncoder

TURNS = (
    Turn("user", "<image>\nWhat is it?"),
    Turn("assistant", "A cat."),
    Turn("user", "Sure?"),
    Turn("assistant", "\nYes.\n"),
)


def encoder(system: str | None = None) -> ChatEncoder:
    return ChatEncoder(byte_tokenizer(), tokens_per_tile=4, system=system)


def decoded(ids: np.ndarray) -> str:
    text: str = byte_tokenizer().decode(ids.tolist())
    return text


def test_tokens_are_those_of_the_published_chat_template() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = chat_template(DEFAULT_TEMPLATE)
    chat = encoder().encode(TURNS, [3])
    messages = [{"role": turn.role, "content": turn.text} for turn in TURNS]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert isinstance(text, str)
    assert decoded(chat.ids_T) == text.replace("<image>", f"<img>{IMAGE_CONTEXT * 12}</img>")


def test_the_loss_is_on_assistants_texts_and_on_the_end_of_their_turns() -> None:
    chat = encoder("Be brief.").encode(TURNS, [1])
    assert decoded(chat.ids_T[chat.assistant_mask_T]) == "A cat.<|im_end|>\nYes.\n<|im_end|>"


def test_slots_are_where_answers_begin() -> None:
    chat = encoder().encode(TURNS[:3], [2], answering=True)
    assert len(chat.slots) == 2
    for slot in chat.slots:
        assert decoded(chat.ids_T[: slot + 1]).endswith("<|im_start|>assistant\n")
        assert not chat.assistant_mask_T[slot]
    assert chat.slots[-1] == len(chat.ids_T) - 1


def test_a_system_turn_replaces_the_template_s_message() -> None:
    default = encoder(system_message(DEFAULT_TEMPLATE))
    own = Turn("system", "Be brief.")
    assert decoded(default.encode(TURNS, [1]).ids_T).startswith("<|im_start|>system\n你是书生·万象")
    assert decoded(default.encode([own, *TURNS], [1]).ids_T).startswith(
        "<|im_start|>system\nBe brief.<|im_end|>\n"
    )
    assert decoded(encoder().encode(TURNS, [1]).ids_T).startswith("<|im_start|>user\n")


def test_every_image_has_its_own_run() -> None:
    turns = (Turn("user", "<image> or <image>?"), Turn("assistant", "One."))
    chat = encoder().encode(turns, [2, 1])
    text = decoded(chat.ids_T)
    assert f"<img>{IMAGE_CONTEXT * 8}</img> or <img>{IMAGE_CONTEXT * 4}</img>?" in text


def test_without_images_the_placeholder_is_text() -> None:
    chat = encoder().encode((Turn("user", "What is <image>?"), Turn("assistant", "A tag.")))
    assert "What is <image>?" in decoded(chat.ids_T)


@pytest.mark.parametrize("text", [f"{IMAGE_CONTEXT}?", f"<image>{IMAGE_CONTEXT}"])
def test_image_tokens_in_the_text_are_refused(text: str) -> None:
    with pytest.raises(RecordError, match="image tokens for"):
        encoder().encode((Turn("user", text), Turn("assistant", "x")), [1] * text.count("<image>"))


def test_a_tokenizer_that_begins_texts_has_its_token_in_front() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.bos_token = "<|endoftext|>"
    chat = ChatEncoder(tokenizer, tokens_per_tile=4, system=None).encode(TURNS, [1])
    assert chat.ids_T[0] == tokenizer.bos_token_id
    assert decoded(chat.ids_T[chat.assistant_mask_T]).startswith("A cat.")
    assert decoded(chat.ids_T[: chat.slots[0] + 1]).endswith("assistant\n")
