"""The conversation formats that OpenGVLab's checkpoints name in `config.json` as `template`.

All supported families use ChatML. The formats differ in the default system message and in whether a newline
follows the end of a turn. Source: OpenGVLab/InternVL `internvl_chat/internvl/conversation.py`.
"""

from dataclasses import dataclass

DEFAULT_TEMPLATE = "internvl2_5"
"""The template of InternVL2.5, 3 and 3.5, and of VisualPRM."""

# The content of a message is a string or a list of parts. InternLM's models were trained with a token for the
# beginning of the text (`<s>`); Qwen's tokenizer has no such token. Tools are written as Qwen2.5's own
# template writes them, because the published formats have none.
_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
    "{% for tool in tools %}{{ '\n' + tool | tojson }}{% endfor %}{{ '\n' }}</tools>\n\n"
    "For each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
    "<args-json-object>}\n</tool_call>"
)
_CHAT = (
    "{% macro write(content) %}"
    "{% if content is string %}{{ content }}"
    "{% elif content %}{% for part in content %}"
    "{% if part.type in ['image', 'video'] %}{{ '<' + part.type + '>\n' }}"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% endmacro %}"
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% if tools and messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\n' }}" + _TOOLS + "{{ '<|im_end|>AFTER_TURN' }}"
    "{% endif %}"
    "{% for message in messages %}"
    "{% if message.role == 'tool' %}"
    "{% if loop.first or loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\n<tool_response>\n' + write(message.content) + '\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>AFTER_TURN' }}{% endif %}"
    "{% else %}"
    "{{ '<|im_start|>' + message.role }}"
    "{% if message.content or not message.tool_calls %}{{ '\n' + write(message.content) }}{% endif %}"
    "{% if tools and loop.first and message.role == 'system' %}{{ '\n\n' }}" + _TOOLS + "{% endif %}"
    "{% for call in message.tool_calls or [] %}"
    "{% set function = call.function or call %}"
    '{{ \'\n<tool_call>\n{"name": "\' + function.name + \'", "arguments": \' }}'
    "{{ function.arguments if function.arguments is string else function.arguments | tojson }}"
    "{{ '}\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>AFTER_TURN' }}"
    "{% endif %}"
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
    """Return a template as Jinja text.

    An image or video part becomes `<image>` or `<video>` and a newline, in the order of the parts. The caller
    adds the system message, the template doesn't. Tools, calls and their results are written as in Qwen2.5's
    template. Raises as `system_message` does.
    """
    return _CHAT.replace("AFTER_TURN", _template(name).after_turn)


def _template(name: str) -> Template:
    if name not in _TEMPLATES:
        raise ValueError(f"the conversation template {name!r} isn't supported: use {', '.join(_TEMPLATES)}")
    return _TEMPLATES[name]
