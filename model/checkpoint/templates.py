"""The conversation formats that OpenGVLab's checkpoints name in `config.json` as `template`.

All supported families use ChatML. The formats differ in the default system message and in whether a newline
follows the end of a turn. Source: OpenGVLab/InternVL `internvl_chat/internvl/conversation.py`.
"""

from dataclasses import dataclass

DEFAULT_TEMPLATE = "internvl2_5"
"""The template of InternVL2.5, 3 and 3.5, and of VisualPRM."""

# The content of a message is a string or a list of parts. InternLM's models were trained with a token for the
# beginning of the text (`<s>`); Qwen's tokenizer has no such token.
_CHAT = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.content is string %}{{ message.content }}"
    "{% elif message.content %}{% for part in message.content %}"
    "{% if part.type in ['image', 'video'] %}{{ '<' + part.type + '>\n' }}"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>AFTER_TURN' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Template:
    """The properties of a published template."""

    system_message: str
    after_turn: str  # The text that follows <|im_end|>.


_INTERNVL2 = Template(
    system_message=(
        "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, "
        "是一个有用无害的人工智能助手。"
    ),
    after_turn="",
)
_TEMPLATES = {
    "Hermes-2": _INTERNVL2,
    "internlm2-chat": _INTERNVL2,
    "internvl2_5": Template(
        system_message=(
            "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
        ),
        after_turn="\n",
    ),
}


def system_message(name: str) -> str:
    """Return the system message that a template puts before a conversation without one.

    Raises:
        ValueError: the template isn't one of a supported family.
    """
    return _template(name).system_message


def chat_template(name: str) -> str:
    """Return a template as Jinja text, for a tokenizer that has no chat template.

    An image or video part becomes `<image>` or `<video>` and a newline, in the order of the parts. The caller
    adds the system message, the template doesn't. Raises as `system_message` does.
    """
    return _CHAT.replace("AFTER_TURN", _template(name).after_turn)


def _template(name: str) -> Template:
    if name not in _TEMPLATES:
        raise ValueError(f"the conversation template {name!r} isn't supported: use {', '.join(_TEMPLATES)}")
    return _TEMPLATES[name]
