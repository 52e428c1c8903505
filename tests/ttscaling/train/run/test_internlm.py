"""Checkpoints with InternLM's tokenizers train, without any of the code that they bring."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint.internlm_tokenizer import checkpoint_tokenizer
from tests.checkpoints import Language, build_checkpoint
from tests.sentencepiece_tokenizers import Kind as Tokenizer
from tests.sentencepiece_tokenizers import write_tokenizer
from tests.ttscaling.train.jobs import figures, job, recipe, weights
from ttscaling.critic_prompt import MINUS, PLUS
from ttscaling.records.chats import Turn
from ttscaling.train.run.job import run_job
from ttscaling.train.run.sharding import make_accelerator
from ttscaling.train.samples.chat_encoder import ChatEncoder
from ttscaling.train.settings.kinds import Kind

PUBLISHED = Path(__file__).parents[5] / "shared/published"


@pytest.mark.parametrize(
    ("tokenizer", "language"), [("InternLM2Tokenizer", "internlm2"), ("InternLM3Tokenizer", "internlm3")]
)
@pytest.mark.parametrize("kind", ["sft", "critic"])
def test_a_checkpoint_trains(tokenizer: Tokenizer, language: Language, kind: Kind, tmp_path: Path) -> None:
    files = write_tokenizer(tmp_path / "tokenizer", tokenizer, dummy_prefix=False)
    build_checkpoint(tmp_path / "start", "opengvlab", language=language, tokenizer_files=files.directory)
    training_job = job(tmp_path, kind, recipe=recipe(steps=3, max_tokens=1200))
    trained = run_job(training_job, make_accelerator("fp32"), resume=False)
    log = figures(training_job)
    assert log[-1]["loss"] < log[0]["loss"]
    assert weights(trained)
    # The trained checkpoint is a Llama with the same tokenizer, which still needs no code.
    config = json.loads((trained / "config.json").read_text())
    assert config["llm_config"]["architectures"] == ["LlamaForCausalLM"] and "auto_map" not in config
    text = "the quick fox 12"
    assert (
        checkpoint_tokenizer(trained)(text).input_ids == checkpoint_tokenizer(files.directory)(text).input_ids
    )


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the family's published files aren't part of the project")
@pytest.mark.parametrize("folder", ["InternVL2-2B", "internlm3-8b-instruct"])
def test_a_critics_conversation_in_the_published_vocabulary(folder: str) -> None:
    """Both labels are one token, and an answer's slot is the last token of the header."""
    tokenizer = checkpoint_tokenizer(PUBLISHED / folder)
    if folder.startswith("internlm3"):  # this is the language model alone, without InternVL's tokens
        tokenizer.add_special_tokens(
            {"additional_special_tokens": ["<img>", "</img>", "<IMG_CONTEXT>"]},
            replace_extra_special_tokens=False,
        )
    encoder = ChatEncoder(tokenizer, tokens_per_tile=4, system="Judge.")
    assert [len(encoder.ids(label)) for label in (PLUS, MINUS)] == [1, 1]
    chat = encoder.encode([Turn("user", "<image>\n1+1?"), Turn("assistant", "+")], [2])
    (slot,) = chat.slots
    np.testing.assert_array_equal(chat.ids_T[slot + 1 : slot + 2], encoder.ids("+"))
    assert chat.ids_T.tolist().count(encoder.image_token) == 8
    assert chat.ids_T[0] == tokenizer.bos_token_id
