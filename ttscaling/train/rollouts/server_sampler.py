"""Sample answers, and continuations of answers that have begun, from a chat server.

A continuation is requested as vLLM and SGLang expect it: the answer's beginning is the last message, and
`continue_final_message` makes the model write on from there. Other servers ignore the field and silently
begin a new answer, so `check_continues` tries a server first.
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
    """A text that the model wrote; `complete` is False if it was cut off at the token limit."""

    text: str
    complete: bool


class ServerSampler:
    """Samples answers from a server.

    `fields` go into each request unchanged, such as model, temperature and max_tokens.
    """

    def __init__(self, server: ServerClient, fields: Mapping[str, Any]) -> None:
        self._server = server
        self._fields = fields

    async def answers(
        self, message: Message, *, n: int, seed: int, begun: str = ""
    ) -> tuple[list[Answer], TokenUsage]:
        """Return n answers to a user's message, and the tokens that they took.

        One request asks for all of them, so that its prompt is computed once. With `begun` they are n
        continuations of an answer that begins so, without the beginning. Raises CommandError if the server
        fails (Refused if it refuses the request), or if its reply can't be used.
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
            raise CommandError(
                f"the reply doesn't have OpenAI's form ({type(error).__name__} {error}): "
                "use a server with an OpenAI-compatible API"
            ) from error
        if len(answers) != n:
            raise CommandError(
                f"{n} answers were requested and {len(answers)} came: use a server that heeds 'n'"
            )
        return answers, usage

    async def check_continues(self) -> None:
        """Raise CommandError if the server doesn't go on with a message that has begun, or fails.

        The server shows it by the number of prompt tokens: there are fewer if the last message stays open
        than if its end and the header of a new answer follow.
        """
        message = {"role": "user", "content": "Count to three."}
        unsupported = CommandError(
            "the server begins a new answer instead of going on with the one it is given "
            "(continue_final_message): use vLLM, SGLang or internvl3 serve, or ask for solutions alone with "
            "--continuations 0 --blind 0"
        )
        # A server that fails for another reason fails at this request too, and its error is raised.
        await self._prompt_tokens(_messages(message, ""))
        try:
            opened = await self._prompt_tokens(_messages(message, "One, two"))
        except Refused as error:
            raise unsupported from error
        try:
            closed = await self._prompt_tokens({"messages": [message, _assistant_message("One, two")]})
        except Refused:
            return  # The server takes a conversation that ends with an answer only to continue it.
        if opened >= closed:
            raise unsupported

    async def _prompt_tokens(self, body: Mapping[str, Any]) -> int:
        reply = await self._server.post(CHAT, {**self._fields, **body, "max_tokens": 1})
        usage = reply.get("usage")
        if not isinstance(usage, Mapping) or not isinstance(usage.get("prompt_tokens"), int):
            raise CommandError("the reply has no usage.prompt_tokens: use a server that counts tokens")
        return int(usage["prompt_tokens"])


def usage_json(usage: TokenUsage) -> dict[str, int]:
    """Return the counts as they are kept and reported; the critic's are left out, since none takes part."""
    return {"prompt": usage.prompt, "cached": usage.cached, "completion": usage.completion}


def stated(answer: Answer) -> str | None:
    """Return the final answer that a text states; None if the text was cut off, perhaps within a number."""
    return final_answer(answer.text) if answer.complete else None


def _messages(message: Message, begun: str) -> dict[str, Any]:
    if not begun:
        return {"messages": [message]}
    return {"messages": [message, _assistant_message(begun)], **_CONTINUE}


def _assistant_message(text: str) -> Message:
    return {"role": "assistant", "content": text}
