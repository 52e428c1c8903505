"""The end of a turn is found in each of the tokenizer files, and replaces a wrong eos."""

import json
from pathlib import Path
from typing import Any

import pytest
from vllm.transformers_utils.config import try_get_generation_config

from model.checkpoint.end_of_turn import end_of_turn
from model.plugin.register import register
from tests.checkpoints import byte_tokenizer, write_json

TOKEN = {"content": "<|im_end|>", "special": True}
OTHER = {"content": "<|endoftext|>", "special": True}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": {"7": OTHER, "92542": TOKEN}}),
        ("tokenizer.json", {"added_tokens": [{"id": 7} | OTHER, {"id": 92542} | TOKEN]}),
        ("added_tokens.json", {"<|endoftext|>": 7, "<|im_end|>": 92542}),
    ],
)
def test_it_is_found_in_each_of_the_files(name: str, content: dict[str, Any], tmp_path: Path):
    write_json(tmp_path / name, content)
    assert end_of_turn(tmp_path) == 92542


def test_it_is_that_of_a_saved_tokenizer(tmp_path: Path):
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    assert end_of_turn(tmp_path) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_folder_without_it_has_none(tmp_path: Path):
    write_json(tmp_path / "tokenizer_config.json", {})
    assert end_of_turn(tmp_path) is None


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_the_config_stops_where_the_tokenizer_says(
    layout: str, request: pytest.FixtureRequest, tmp_path: Path
):
    """vLLM reads eos in this way and makes a stop token of it."""
    checkpoint: Path = request.getfixturevalue(f"{layout}_checkpoint")
    content = json.loads((checkpoint / "config.json").read_text())
    content["llm_config" if layout == "opengvlab" else "text_config"]["eos_token_id"] = 3
    write_json(tmp_path / "config.json", content)
    register()
    before = try_get_generation_config(str(tmp_path), trust_remote_code=False)
    assert before.eos_token_id == 3
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    after = try_get_generation_config(str(tmp_path), trust_remote_code=False)
    assert after.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
