"""Which chat template an engine gets: the operator's, one written for images, or the published one."""

import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from model.checkpoint.config import InternVLChatConfig
from model.checkpoint.description import Checkpoint, read_checkpoint
from model.checkpoint.templates import chat_template
from server.vllm_engine.conversation_format import set_conversation_format, writes_images
from tests.checkpoints import CHAT_TEMPLATE, byte_tokenizer

PUBLISHED = Path(__file__).parents[4] / "shared/published"
OURS = (chat_template("internvl2_5"), "openai")
# How Qwen2.5's template, which InternVL3-8B's tokenizer carries, writes a message.
TEXT_ONLY = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
)
OTHER = "{% for message in messages %}[{{ message.content }}]{% endfor %}"


@pytest.fixture
def folder(opengvlab_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint without any template."""
    shutil.copytree(opengvlab_checkpoint, tmp_path / "copy")
    (tmp_path / "copy/chat_template.jinja").unlink()
    return tmp_path / "copy"


def checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(InternVLChatConfig.from_pretrained(folder), {})


def chosen(folder: Path, described: Checkpoint, **flags: Any) -> tuple[str | None, str]:
    args = Namespace(chat_template=None, chat_template_content_format="auto")
    vars(args).update(flags)
    config: Any = SimpleNamespace(tokenizer=folder, tokenizer_revision=None, hf_token=None)
    set_conversation_format(args, described, AutoTokenizer.from_pretrained(folder), config)
    return args.chat_template, args.chat_template_content_format


def test_a_checkpoint_without_a_template_gets_the_published_format(folder: Path):
    assert chosen(folder, checkpoint(folder)) == OURS
    older = replace(checkpoint(folder), template="internlm2-chat")
    assert chosen(folder, older) == (chat_template("internlm2-chat"), "openai")


@pytest.mark.parametrize("template", [TEXT_ONLY, CHAT_TEMPLATE])
def test_a_template_in_the_tokenizers_config_is_not_used(folder: Path, template: str):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    assert AutoTokenizer.from_pretrained(folder).chat_template == template
    assert chosen(folder, checkpoint(folder)) == OURS


@pytest.mark.parametrize("template", [TEXT_ONLY, OTHER, "{{ raise_exception('no') }}", "{% if %}"])
def test_a_file_that_knows_no_images_is_not_used(folder: Path, template: str):
    """A fine-tune that was saved with transformers has the language model's template in this file."""
    (folder / "chat_template.jinja").write_text(template)
    assert chosen(folder, checkpoint(folder)) == OURS


def test_a_file_that_is_written_for_images_is_used(folder: Path):
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    assert chosen(folder, checkpoint(folder)) == (CHAT_TEMPLATE, "openai")


def test_the_operators_flags_win(folder: Path):
    assert chosen(folder, checkpoint(folder), chat_template=OTHER) == (OTHER, "auto")
    format = {"chat_template_content_format": "string"}
    assert chosen(folder, checkpoint(folder), **format) == (OURS[0], "string")


def test_transformers_layout_keeps_its_template(folder: Path):
    assert chosen(folder, replace(checkpoint(folder), layout="transformers")) == (None, "auto")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published files are not part of the repository")
@pytest.mark.parametrize(
    ("name", "own"), [("InternVL3-8B", False), ("InternVL3-2B", False), ("InternVL3_5-4B", True)]
)
def test_published_folders(folder: Path, name: str, own: bool):
    for file in ("tokenizer_config.json", "chat_template.jinja"):
        if (PUBLISHED / name / file).exists():
            shutil.copy(PUBLISHED / name / file, folder)
    args = Namespace(chat_template=None, chat_template_content_format="auto")
    config: Any = SimpleNamespace(tokenizer=folder, tokenizer_revision=None, hf_token=None)
    set_conversation_format(args, checkpoint(folder), byte_tokenizer(), config)
    expected = (PUBLISHED / name / "chat_template.jinja").read_text() if own else OURS[0]
    assert (args.chat_template, args.chat_template_content_format) == (expected, "openai")
    assert writes_images(expected, byte_tokenizer())
