"""Policy and Critic over any OpenAI-compatible server.

Both take an `httpx.AsyncClient` whose `base_url` ends in `/v1/` and which carries credentials and timeouts.
The critic here is the portable read-out: one request of one token per step. It works with every server that
returns log-probabilities, and is what faster read-outs are checked against.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from .critic import MINUS, PLUS, critic_prefixes, judgement
from .steps import SEPARATOR, split_steps
from .types import (
    Candidate,
    Conversation,
    CriticError,
    Message,
    Note,
    PolicyError,
    StepScores,
    forget,
)


class RemotePolicy:
    """Samples from a chat model: one request a candidate, so that each arrives, and is cancelled, on its own.

    `sampling` holds OpenAI's fields (temperature, top_p, max_tokens, seed ...). The greedy candidate gets
    temperature 0; the others get seed + index, so that a seed reproduces all of them and they still differ.
    """

    def __init__(self, client: httpx.AsyncClient, *, model: str, sampling: Mapping[str, Any]) -> None:
        self._client = client
        self._model = model
        self._sampling = sampling

    async def sample(
        self,
        conversation: Conversation,
        *,
        index: int,
        greedy: bool,
        live: bool = False,
        note: Note = forget,
    ) -> Candidate:
        """See `Policy.sample`. An answer arrives whole: nothing is noted before its end."""
        return await self._complete(conversation, index, greedy=greedy)

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        """See `StepPolicy.extend`. Needs a server that continues a message as vLLM and SGLang do
        (`continue_final_message`) and says which stop string it met (vLLM's `stop_reason`).
        """
        fields: dict[str, Any] = {"stop": [*_as_list(self._sampling.get("stop")), SEPARATOR]}
        for name in ("max_tokens", "max_completion_tokens"):  # of the whole answer
            if self._sampling.get(name) is not None:
                fields[name] = max(1, self._sampling[name] - parent.completion_tokens)
        if parent.text:
            begun = {"role": "assistant", "content": parent.text + SEPARATOR}
            conversation = replace(conversation, messages=(*conversation.messages, begun))
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
        return await self._complete(conversation, index, greedy=greedy, fields=fields)

    async def _complete(
        self, conversation: Conversation, index: int, *, greedy: bool, fields: Mapping[str, Any] | None = None
    ) -> Candidate:
        """One request's answer; with `fields`, one step of it."""
        sampling = {**self._sampling, **(fields or {})}
        if greedy:
            sampling["temperature"] = 0.0
        if sampling.get("seed") is not None:
            sampling["seed"] += index
        try:
            reply = await _post_chat(self._client, self._model, conversation.messages, conversation, sampling)
            choice = reply["choices"][0]
            reason = choice["finish_reason"]
            if fields is not None and reason == "stop" and choice["stop_reason"] == SEPARATOR:
                reason = None
            prompt_tokens, cached_tokens = _prompt_usage(reply)
            return Candidate(
                index=index,
                text=choice["message"]["content"] or "",
                finish_reason=reason,
                prompt_tokens=prompt_tokens,
                cached_tokens=cached_tokens,
                completion_tokens=reply["usage"]["completion_tokens"],
            )
        except _FAILURES as error:
            raise PolicyError(f"{self._model}: {_reason(error)}") from error


class RemoteCritic:
    """Reads P(+) of each step from the log-probabilities of the one token that follows its prefix.

    With `token_ids` (the ids of "+" and "-" in the critic's vocabulary) the server is asked for exactly these
    (vLLM's `logprob_token_ids`); without, both must be among its 20 likeliest tokens. `system` is the
    critic's own system message.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        model: str,
        token_ids: Mapping[str, int] | None = None,
        system: str | None = None,
    ) -> None:
        self.name = model
        self._client = client
        self._system = system
        wanted = {"logprob_token_ids": [token_ids[PLUS], token_ids[MINUS]]} if token_ids else {}
        self._read_out = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 20} | wanted

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`. Steps are asked at once: their prompts nest, and a prefix cache shares them."""
        steps = split_steps(answer)
        try:
            async with asyncio.TaskGroup() as asking:
                readings = [
                    asking.create_task(self._read(prefix, conversation))
                    for prefix in critic_prefixes(conversation, steps, system=self._system)
                ]
        except ExceptionGroup as group:  # the task group's wrapping; callers expect the failure itself
            raise group.exceptions[0] from None
        scores, prompt_tokens, cached_tokens = zip(*(reading.result() for reading in readings), strict=True)
        return StepScores(
            steps=steps, scores=scores, prompt_tokens=sum(prompt_tokens), cached_tokens=sum(cached_tokens)
        )

    async def _read(self, prefix: tuple[Message, ...], conversation: Conversation) -> tuple[float, int, int]:
        """One step's score, and the prompt tokens and cached tokens that it took."""
        try:
            reply = await _post_chat(self._client, self.name, prefix, conversation, self._read_out)
            top = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            logprobs = {entry["token"]: entry["logprob"] for entry in top}
            usage = _prompt_usage(reply)
        except _FAILURES as error:
            raise CriticError(f"critic {self.name}: {_reason(error)}") from error
        if PLUS not in logprobs or MINUS not in logprobs:
            raise CriticError(
                f"critic {self.name}: '{PLUS}' and '{MINUS}' are not both among the tokens it returned; "
                "give token_ids if its server is vLLM, and check that the model is a critic"
            )
        return judgement(logprobs[PLUS], logprobs[MINUS]), *usage


# What a request or the reading of its reply can raise; the last four are replies of an unexpected shape.
_FAILURES = (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError)


async def _post_chat(
    client: httpx.AsyncClient,
    model: str,
    messages: tuple[Message, ...],
    conversation: Conversation,
    fields: Mapping[str, Any],
) -> Mapping[str, Any]:
    """The reply's JSON object; raises httpx.HTTPError, or ValueError where the body isn't JSON."""
    body = {"model": model, "messages": list(messages), **fields}
    if conversation.mm_processor_kwargs:  # vLLM's field; absent when unused, for servers that don't know it
        body["mm_processor_kwargs"] = dict(conversation.mm_processor_kwargs)
    response = await client.post("chat/completions", json=body)
    response.raise_for_status()
    return response.json()


def _as_list(stop: str | Sequence[str] | None) -> list[str]:
    """OpenAI's `stop` is one string or several."""
    return [stop] if isinstance(stop, str) else list(stop or ())


def _prompt_usage(reply: Mapping[str, Any]) -> tuple[int, int]:
    """Prompt tokens, and how many of them a prefix cache held."""
    usage = reply["usage"]
    return usage["prompt_tokens"], (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def _reason(error: Exception) -> str:
    """One line that says what went wrong, with the server's own words where it sent some."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}: {error.response.text[:500]}"
    if isinstance(error, httpx.HTTPError):
        return f"{type(error).__name__}: {error}"
    return f"unexpected reply ({type(error).__name__}: {error})"
