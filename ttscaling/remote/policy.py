"""A policy that samples whole answers or single steps from an OpenAI-compatible server."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from ttscaling.seeds import candidate_seed
from ttscaling.steps import SEPARATOR
from ttscaling.types import Candidate, Conversation, OnDraft, PolicyError, TokenUsage, ignore_draft

from .chat_requests import FAILURES, failure_reason, known_usage, post_chat, prompt_usage
from .retries import PAUSES


def _as_list(stop: str | Sequence[str] | None) -> list[str]:
    """Return OpenAI's `stop`, which is one string, several, or none, as a list."""
    return [stop] if isinstance(stop, str) else list(stop or ())


class RemotePolicy:
    """A Policy and StepPolicy that sends one request for each candidate or step.

    So each candidate arrives, and can be cancelled, alone. `client` has a `base_url` that ends in `/v1/`, and
    carries credentials and timeouts. `sampling` holds OpenAI's fields (temperature, top_p, max_tokens, seed
    ...). A greedy candidate gets temperature 0. If there is a seed, each candidate gets its `candidate_seed`,
    so that one seed reproduces all candidates, and two seeds share none. While the server is busy or can't be
    reached, a request is sent again after each of `pauses` (seconds).
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        model: str,
        sampling: Mapping[str, Any],
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._client = client
        self._model = model
        self._sampling = sampling
        self._pauses = pauses

    async def sample(
        self,
        conversation: Conversation,
        *,
        index: int,
        greedy: bool,
        streamed: bool = False,
        on_draft: OnDraft = ignore_draft,
    ) -> Candidate:
        """See `Policy.sample`. An answer arrives in one piece, so `on_draft` is never called."""
        return await self._complete(conversation, index, greedy=greedy)

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        """See `StepPolicy.extend`.

        The server must continue a message, as vLLM and SGLang do (`continue_final_message`), and must say
        which stop string ended the text (vLLM's `stop_reason`).
        """
        fields: dict[str, Any] = {"stop": [*_as_list(self._sampling.get("stop")), SEPARATOR]}
        for name in ("max_tokens", "max_completion_tokens"):  # these limits are meant for the complete answer
            if self._sampling.get(name) is not None:
                fields[name] = max(1, self._sampling[name] - parent.completion_tokens)
        if parent.text:
            beginning = {"role": "assistant", "content": parent.text + SEPARATOR}
            conversation = replace(conversation, messages=(*conversation.messages, beginning))
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
        return await self._complete(conversation, index, greedy=greedy, fields=fields)

    async def _complete(
        self, conversation: Conversation, index: int, *, greedy: bool, fields: Mapping[str, Any] | None = None
    ) -> Candidate:
        """Return the answer to one request or, with the `fields` of a step, one step of it."""
        sampling = {**self._sampling, **(fields or {})}
        if greedy:
            sampling["temperature"] = 0.0
        if sampling.get("seed") is not None:
            sampling["seed"] = candidate_seed(sampling["seed"], index)
        reply: Mapping[str, Any] = {}
        try:
            reply = await post_chat(
                self._client, self._model, conversation.messages, conversation, sampling, pauses=self._pauses
            )
            choice = reply["choices"][0]
            reason = choice["finish_reason"]
            if fields is not None and reason == "stop" and choice["stop_reason"] == SEPARATOR:
                reason = None
            prompt_tokens, cached_tokens = prompt_usage(reply)
            return Candidate(
                index=index,
                text=choice["message"]["content"] or "",
                finish_reason=reason,
                prompt_tokens=prompt_tokens,
                cached_tokens=cached_tokens,
                completion_tokens=reply["usage"]["completion_tokens"],
            )
        except FAILURES as error:
            prompt, cached, completion = known_usage(reply)
            usage = TokenUsage(prompt=prompt, cached=cached, completion=completion)
            raise PolicyError(f"{self._model}: {failure_reason(error)}", usage=usage) from error
