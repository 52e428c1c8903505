"""Answers, and continuations of answers that have begun, from a chat server.

A continuation is asked for as vLLM and SGLang take it: the answer's beginning is the last message, and
`continue_final_message` has the model write on from there. Other servers ignore the field and begin a new
answer, silently; so the server is tried once before anything is believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ttscaling.answers.final_answer import final_answer
from ttscaling.asking.client import CHAT, Refused, ServerClient
from ttscaling.console import CommandError
from ttscaling.types import Message, TokenUsage

_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass(frozen=True)
class Answer:
    """One text that the model wrote; `whole` unless it was cut off at the token limit."""

    text: str
    whole: bool


class ServerSampler:
    """Samples from a server. `fields` go into each request as they are (model, temperature, max_tokens)."""

    def __init__(self, server: ServerClient, fields: Mapping[str, Any]) -> None:
        self._server = server
        self._fields = fields

    async def answers(
        self, message: Message, *, n: int, seed: int, begun: str = ""
    ) -> tuple[list[Answer], TokenUsage]:
        """n answers to a user's message in one request, so that its prompt is computed once.

        With `begun` they are the n ways in which an answer that begins so goes on, without the beginning.
        Raises EvaluationError.
        """
        body = {**self._fields, **_messages(message, begun), "n": n, "seed": seed}
        reply = await self._server.post(CHAT, body)
        try:
            choices = sorted(reply["choices"], key=lambda choice: choice["index"])
            answers = [
                Answer(choice["message"]["content"] or "", choice["finish_reason"] != "length")
                for choice in choices
            ]
            counts = reply["usage"]
            usage = TokenUsage(
                prompt=counts["prompt_tokens"],
                cached=(counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
                completion=counts["completion_tokens"],
            )
        except (KeyError, TypeError) as error:
            raise CommandError(f"the reply isn't of OpenAI's form: {type(error).__name__} {error}") from error
        if len(answers) != n:
            raise CommandError(
                f"{n} answers were requested and {len(answers)} came: use a server that heeds 'n'"
            )
        return answers, usage

    async def check_continues(self) -> None:
        """Whether the server goes on with a message that has begun.

        The same messages are shorter if the last is left open than with its end and a new header behind it.
        Raises EvaluationError where it doesn't, or the server fails: nothing is sent again here.
        """
        message = {"role": "user", "content": "Count to three."}
        lacks = CommandError(
            "the server begins a new answer instead of going on with the one it is given "
            "(continue_final_message): use vLLM, SGLang or internvl3 serve, or ask for solutions alone with "
            "--continuations 0 --blind 0"
        )
        await self._prompt_tokens(_messages(message, ""))  # what else may be wrong is told as it is
        try:
            opened = await self._prompt_tokens(_messages(message, "One, two"))
        except Refused as error:
            raise lacks from error
        try:
            closed = await self._prompt_tokens({"messages": [message, _said("One, two")]})
        except Refused:
            return  # it takes such a conversation only to go on with it
        if opened >= closed:
            raise lacks

    async def _prompt_tokens(self, body: Mapping[str, Any]) -> int:
        reply = await self._server.post(CHAT, {**self._fields, **body, "max_tokens": 1})
        usage = reply.get("usage")
        if not isinstance(usage, Mapping) or not isinstance(usage.get("prompt_tokens"), int):
            raise CommandError("the reply has no usage.prompt_tokens: the server must count tokens")
        return int(usage["prompt_tokens"])


def usage_json(usage: TokenUsage) -> dict[str, int]:
    """Return the counts as they are kept and reported; the critic's are left out, since none takes part."""
    return {"prompt": usage.prompt, "cached": usage.cached, "completion": usage.completion}


def stated(answer: Answer) -> str | None:
    """The final answer that a text states; None if it was cut off, perhaps within a number."""
    return final_answer(answer.text) if answer.whole else None


def _messages(message: Message, begun: str) -> dict[str, Any]:
    return {"messages": [message, _said(begun)], **_CONTINUE} if begun else {"messages": [message]}


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}
