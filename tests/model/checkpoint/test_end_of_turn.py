"""The end of a turn is found in each of the tokenizer files."""

from pathlib import Path
from typing import Any

import pytest

from model.checkpoint.end_of_turn import end_of_turn
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


def test_revision_and_token_reach_the_hub(monkeypatch: pytest.MonkeyPatch):
    """No test reaches the hub, so what transformers is asked for has to do."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("model.checkpoint.repository.cached_file", lambda *_, **kwargs: asked.append(kwargs))
    assert end_of_turn("OpenGVLab/InternVL3-1B", revision="v1", token="secret") is None
    assert {(one["revision"], one["token"]) for one in asked} == {("v1", "secret")}
    assert len(asked) == 3
