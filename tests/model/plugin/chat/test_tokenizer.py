"""The tokens around objects in an image stay in decoded text, and keep their ids."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from vllm.tokenizers.hf import maybe_make_thread_pool

from model.image_tokens import GROUNDING_TOKENS, special_ids
from model.plugin.chat.tokenizer import InternVLTokenizer

ANSWER = "<ref>the cat</ref><box>[[1, 2, 3, 4]]</box> <quad>[1]</quad>"


def test_grounding_tokens_are_decoded_and_special_tokens_are_not(grounding_checkpoint: Path):
    ours = InternVLTokenizer.from_pretrained(grounding_checkpoint)
    plain = AutoTokenizer.from_pretrained(grounding_checkpoint)
    ids = plain.encode(f"<img>{ANSWER}<|im_end|>", add_special_tokens=False)
    assert ours.encode(f"<img>{ANSWER}<|im_end|>", add_special_tokens=False) == ids
    assert plain.decode(ids, skip_special_tokens=True) == "the cat[[1, 2, 3, 4]] [1]"
    assert ours.decode(ids, skip_special_tokens=True) == ANSWER
    assert ours.get_vocab() == plain.get_vocab()


def test_copies_of_the_tokenizer_keep_them_too(grounding_checkpoint: Path):
    ours = InternVLTokenizer.from_pretrained(grounding_checkpoint)
    ids = ours.encode(ANSWER, add_special_tokens=False)
    pool = maybe_make_thread_pool(ours, 2)
    assert pool.decode(ids, skip_special_tokens=True) == ANSWER


def test_grounding_tokens_of_a_client_stay_tokens(grounding_checkpoint: Path):
    ours = InternVLTokenizer.from_pretrained(grounding_checkpoint)
    assert set(special_ids(ours)).isdisjoint(GROUNDING_TOKENS)
    whole = ours.encode(ANSWER, add_special_tokens=False)
    assert ours.encode(ANSWER, add_special_tokens=False, split_special_tokens=True) == whole


def test_a_tokenizer_without_them_is_unchanged():
    nano = Path(__file__).parents[4] / "model" / "nano" / "policy"
    ours: Any = InternVLTokenizer.from_pretrained(nano)
    assert ours.backend_tokenizer.to_str() == AutoTokenizer.from_pretrained(nano).backend_tokenizer.to_str()
