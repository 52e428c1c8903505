"""transformers' warning about Mistral's tokenizers is dropped for InternVL's folders, and for no other."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from model.checkpoint.regex_warning import drop_regex_warning
from tests.checkpoints import write_json

LOGGER = logging.getLogger("transformers.tokenization_utils_tokenizers")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect what transformers' tokenizers log, in a state without our filter."""
    collected: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: collected.append(record.getMessage()))
    monkeypatch.setattr(LOGGER, "filters", [])
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.WARNING)  # our training commands silence transformers in the process of the tests
    yield collected
    LOGGER.setLevel(logging.NOTSET)
    LOGGER.removeHandler(handler)


def folder_with(config: Path, tokenizer: Path, model_type: str, folder: Path) -> Path:
    shutil.copytree(tokenizer, folder)
    content = json.loads((config / "config.json").read_text())
    write_json(folder / "config.json", content | {"model_type": model_type, "transformers_version": None})
    return folder


@pytest.mark.parametrize(("model_type", "kept"), [("internvl_chat", False), ("mistral", True)])
def test_the_warning_is_dropped_where_it_is_false(
    model_type: str,
    kept: bool,
    opengvlab_checkpoint: Path,
    qwen_tokenizer: Path,
    messages: list[str],
    tmp_path: Path,
):
    folder = folder_with(opengvlab_checkpoint, qwen_tokenizer, model_type, tmp_path / "checkpoint")
    AutoTokenizer.from_pretrained(folder)
    assert any("fix_mistral_regex" in message for message in messages), "transformers no longer warns"
    messages.clear()
    for _ in range(2):  # A second call changes nothing.
        drop_regex_warning()
    AutoTokenizer.from_pretrained(folder)
    LOGGER.warning("Something else is wrong.")
    assert any("fix_mistral_regex" in message for message in messages) is kept
    assert messages[-1] == "Something else is wrong." and len(LOGGER.filters) == 1
