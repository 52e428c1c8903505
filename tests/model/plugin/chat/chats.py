"""Render conversations with a renderer of vLLM's, and read what came out."""

import re
from typing import Any

from PIL import Image

from model.checkpoint.templates import DEFAULT_TEMPLATE, chat_template
from tests.checkpoints import CHAT_TEMPLATE

AS_ONE_STRING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "published": chat_template(DEFAULT_TEMPLATE),  # writes <image>
    "transformers": CHAT_TEMPLATE,  # writes <IMG_CONTEXT>
    "string": AS_ONE_STRING,  # takes no parts, so vLLM writes the placeholders
}


def image() -> dict[str, Any]:
    """A part with an image that is one tile."""
    return {"type": "image_pil", "image_pil": Image.new("RGB", (50, 50), "red")}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def user(*content: Any) -> dict[str, Any]:
    """A user's message with these parts, or with one string."""
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def rendered(renderer: Any, messages: list[Any], template: str | None = None, **kwargs: Any) -> Any:
    """Return the engine's input for a conversation."""
    from vllm.renderers.params import ChatParams

    options = {"add_generation_prompt": True, "tokenize": False, **kwargs}
    params = ChatParams(chat_template=template, chat_template_kwargs=options)
    _, (prompt,) = renderer.render_chat([messages], params)
    return prompt


def readable(renderer: Any, prompt: Any) -> str:
    """Return a prompt with special tokens in brackets, and one # for the tokens of an image."""
    tokenizer = renderer.get_tokenizer()
    names = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
    shown, run = "", list[int]()
    for token in [*prompt["prompt_token_ids"], None]:
        if token is None or token in names:
            shown += tokenizer.decode(run)
            shown, run = shown + ("" if token is None else f"[{names[token]}]"), []
        else:
            run.append(token)
    return re.sub(r"(\[<IMG_CONTEXT>\])+", "#", shown)
