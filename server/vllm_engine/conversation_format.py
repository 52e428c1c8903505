"""Choose the chat template of an engine (docs/decisions/0038).

OpenGVLab's code writes conversations by the format that `config.json` names. It never reads the template
that the tokenizer's files carry, and some of them carry that of the bare language model: InternVL3-8B's
begins with "You are Qwen".
"""

from argparse import Namespace
from typing import Any

from vllm.config import ModelConfig

from model.checkpoint.description import Checkpoint
from model.checkpoint.repository import read_file
from model.checkpoint.templates import chat_template
from model.image_tokens import IMAGE_CONTEXT, IMAGE_TEXT

TEMPLATE_FILE = "chat_template.jinja"


def set_conversation_format(
    args: Namespace, checkpoint: Checkpoint, tokenizer: Any, config: ModelConfig
) -> None:
    """Set vLLM's chat template and the format in which the template takes the content of messages.

    A checkpoint in transformers' layout keeps its own, and so does an engine with `--chat-template`.
    Otherwise the file `chat_template.jinja` is used if it is written for images, or else the published
    format.

    Args:
        args: vLLM's arguments; they are changed.
        checkpoint: the description of the checkpoint.
        tokenizer: the engine's tokenizer, which renders a template to try it.
        config: vLLM's config of the model, which says where the tokenizer's files are.
    """
    if checkpoint.layout != "opengvlab" or args.chat_template is not None:
        return
    own = read_file(
        str(config.tokenizer), TEMPLATE_FILE, revision=config.tokenizer_revision, token=config.hf_token
    )
    if own is None or not writes_images(own, tokenizer):
        own = chat_template(checkpoint.template)
    args.chat_template = own
    if args.chat_template_content_format == "auto":
        # vLLM would guess the format from the template's text.
        args.chat_template_content_format = "openai"


def writes_images(template: str, tokenizer: Any) -> bool:
    """Return whether a template turns the image part of a message into a placeholder.

    The template of a bare language model fails on a message with parts, or it writes the list itself.
    """
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}
    try:
        prompt = tokenizer.apply_chat_template([message], chat_template=template, tokenize=False)
    except Exception:  # a template may fail in any way
        return False
    return IMAGE_TEXT in prompt or IMAGE_CONTEXT in prompt
