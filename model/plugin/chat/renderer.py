"""vLLM's renderer for InternVL: a client's text stays text, and media stand where their parts stand.

vLLM applies the chat template and tokenises what comes out, so it can't tell a special token of the template
from one that a client wrote, nor a medium's placeholder from the word `<image>`. This renderer marks what the
client wrote before the template sees it (docs/decisions/0032).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vllm.config import VllmConfig
from vllm.exceptions import VLLMValidationError
from vllm.renderers.hf import HfRenderer, resolve_chat_template_content_format
from vllm.renderers.params import ChatParams
from vllm.utils.async_utils import make_async

from model.plugin.inputs.processor import InternVLMultiModalProcessor

from .prompt_encoder import PromptEncoder, name_slots
from .request_marks import PLACEHOLDERS, RequestMarks
from .reserved_texts import MEDIA_TEXTS, ReservedTexts

_MARKS = "internvl3_marks"  # the key under which a rendered prompt carries its marks to the tokenisation


@dataclass(frozen=True)
class _MarkedChat:
    """A conversation and the template's arguments with marks."""

    marks: RequestMarks
    messages: list[Any]
    params: ChatParams


class InternVLRenderer(HfRenderer):
    """The renderer of the tokenizer mode `internvl3`.

    Prompts without media and without a reserved text go vLLM's way unchanged. For a model that is not ours,
    all prompts do.
    """

    def __init__(self, config: VllmConfig, tokenizer: Any) -> None:
        super().__init__(config, tokenizer)
        self._mark_async = make_async(self._mark, executor=self._executor)
        self._is_ours = isinstance(self.mm_processor, InternVLMultiModalProcessor) and tokenizer is not None
        if self._is_ours:
            self._encoder = PromptEncoder(self.tokenizer)
            self.trust_special_tokens(False)

    def trust_special_tokens(self, trusted: bool) -> None:
        """Set whether special tokens in a client's text are special tokens. By default they are text.

        This has no effect for a model that is not ours.
        """
        if not self._is_ours:
            return
        special_texts = () if trusted else self._encoder.special_texts
        self._reserved = ReservedTexts([*MEDIA_TEXTS, *special_texts])

    def render_messages(self, messages: list[Any], params: ChatParams) -> tuple[list[Any], Any]:
        """See `BaseRenderer.render_messages`."""
        if not self._is_ours:
            return super().render_messages(messages, params)
        chat = self._mark(messages, params)
        return self._with_marks(chat.marks, *super().render_messages(chat.messages, chat.params))

    async def render_messages_async(self, messages: list[Any], params: ChatParams) -> tuple[list[Any], Any]:
        """See `BaseRenderer.render_messages_async`."""
        if not self._is_ours:
            return await super().render_messages_async(messages, params)
        chat = await self._mark_async(messages, params)
        return self._with_marks(chat.marks, *await super().render_messages_async(chat.messages, chat.params))

    def _mark(self, messages: Sequence[Mapping[str, Any]], params: ChatParams) -> _MarkedChat:
        """Return the conversation with marks. Raises VLLMValidationError if its JSON is nested too deeply."""
        content_format = resolve_chat_template_content_format(
            chat_template=params.chat_template,
            tools=params.chat_template_kwargs.get("tools"),
            given_format=params.chat_template_content_format,
            tokenizer=self.get_tokenizer(),
            model_config=self.model_config,
        )
        marks = RequestMarks.draw()
        try:
            marked = [marks.add_to_message(message, self._reserved, content_format) for message in messages]
            kwargs = {
                name: value if name == "chat_template" else marks.add(value, self._reserved)
                for name, value in params.chat_template_kwargs.items()
            }
        except RecursionError:
            raise VLLMValidationError(
                "the messages or tools hold JSON that is nested too deeply: send flatter JSON",
                parameter="messages",
            ) from None
        return _MarkedChat(marks, marked, replace(params, chat_template_kwargs=kwargs))

    def _with_marks(self, marks: RequestMarks, conversation: list[Any], prompt: Any) -> tuple[list[Any], Any]:
        """Return vLLM's conversation without marks, and its prompt with the marks that the text needs."""
        text = prompt.get("prompt")
        if prompt.get("multi_modal_data") or (isinstance(text, str) and marks.stand_in(text)):
            prompt[_MARKS] = marks
        return marks.remove(conversation), prompt

    def _tokenize_prompt(self, prompt: Any, params: Any) -> Any:
        marks = prompt.get(_MARKS)
        if marks is None:
            return super()._tokenize_prompt(prompt, params)
        text = name_slots(prompt["prompt"], marks, (prompt.get("multi_modal_data") or {}).keys())
        token_ids = self._encoder.encode(text, marks, add_special_tokens=params.add_special_tokens)
        for modality, placeholder in PLACEHOLDERS.items():
            text = text.replace(marks.slot(modality), placeholder)
        plain = {key: value for key, value in prompt.items() if key != _MARKS}
        return self._build_tokens_prompt(token_ids, {**plain, "prompt": marks.remove(text)})
