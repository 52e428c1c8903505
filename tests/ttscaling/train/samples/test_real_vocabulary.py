"""A training sample has the tokens of the real vocabulary that the server computes for the same texts."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer

from model.checkpoint.internlm_tokenizer import checkpoint_tokenizer
from model.checkpoint.templates import DEFAULT_TEMPLATE, chat_template, system_message
from tests.qwen_tokenizer import rank_encoder
from tests.sentencepiece_tokenizers import Kind, write_tokenizer
from ttscaling.records.chats import Turn
from ttscaling.train.samples.chat_encoder import ChatEncoder

PICTURE = Image.fromarray(np.zeros((190, 300, 3), dtype=np.uint8))  # 2 x 3 tiles and a thumbnail
SYSTEM = system_message(DEFAULT_TEMPLATE)
CONVERSATIONS = {
    "one image": ("<image>\nWhat is it?", "A cat.", "Sure?"),
    "image in the text": ("图中的<image>是什么？", "一只猫。\n\n3 + 4 = 7", "为什么?\n"),
    "an answer that begins with a line break": ("<image>Count.", "\n\nOne.\n", "More."),
}


@pytest.fixture(scope="module")
def encoder(qwen_tokenizer: Path) -> ChatEncoder:
    tokenizer = AutoTokenizer.from_pretrained(qwen_tokenizer)
    return ChatEncoder(tokenizer, tokens_per_tile=4, system=SYSTEM)


def server_ids(processor: Any, texts: tuple[str, ...]) -> list[int]:
    """Return the ids that the engine gets for a conversation, whose roles take turns."""
    messages = [{"role": "system", "content": SYSTEM}]
    messages += [
        {"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(texts)
    ]
    prompt = processor.info.get_tokenizer().apply_chat_template(
        messages, chat_template=chat_template(DEFAULT_TEMPLATE), tokenize=False, add_generation_prompt=True
    )
    items = processor.info.parse_mm_data({"image": [PICTURE]})
    token_ids: list[int] = processor(prompt, items, hf_processor_mm_kwargs={})["prompt_token_ids"]
    return token_ids


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_has_the_ids_of_the_server(name: str, encoder: ChatEncoder, qwen_processor: Any):
    """The encoder divides an answer apart from its header, as generation does. A rendered text joins them."""
    texts = CONVERSATIONS[name]
    question = encoder.encode([Turn("user", texts[0])], [7], answering=True)
    assert question.ids_T.tolist() == server_ids(qwen_processor, texts[:1])
    turns = [Turn(("user", "assistant")[index % 2], text) for index, text in enumerate(texts)]
    chat = encoder.encode(turns, [7], answering=True)
    if not texts[1].startswith("\n"):
        assert chat.ids_T.tolist() == server_ids(qwen_processor, texts)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_loss_is_on_the_answer_and_on_the_published_end(name: str, encoder: ChatEncoder):
    texts = CONVERSATIONS[name]
    turns = [Turn("user", texts[0]), Turn("assistant", texts[1])]
    chat = encoder.encode(turns, [7])
    answer = rank_encoder("InternVL3").encode(texts[1])
    assert chat.ids_T[chat.assistant_mask_T].tolist() == [*answer, 151645]
    assert chat.ids_T[~chat.assistant_mask_T].tolist().count(151667) == 4 * 7


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_text_of_internlm_begins_with_its_own_token(kind: Kind, tmp_path: Path):
    """The server's template writes `<s>`. sentencepiece divides each text between special tokens alone."""
    files = write_tokenizer(tmp_path / "tokenizer", kind, dummy_prefix=False)
    tokenizer = checkpoint_tokenizer(files.directory)
    turns = [Turn("user", "the quick fox"), Turn("assistant", "tstep 12"), Turn("user", "it?")]
    prompt = tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.text} for turn in turns],
        chat_template=chat_template(DEFAULT_TEMPLATE),
        tokenize=False,
        add_generation_prompt=True,
    )
    chat = ChatEncoder(tokenizer, tokens_per_tile=4, system=None).encode(turns, answering=True)
    assert chat.ids_T.tolist() == tokenizer.encode(prompt, add_special_tokens=False)
    start, end, text = files.ids["<|im_start|>"], files.ids["<|im_end|>"], files.oracle.encode
    answer = [start, *text("assistant\n"), *text("tstep 12"), end, *text("\n")]
    assert chat.ids_T.tolist() == [
        *(1, start, *text("user\nthe quick fox"), end, *text("\n")),
        *answer,
        *(start, *text("user\nit?"), end, *text("\n"), start, *text("assistant\n")),
    ]
