"""A critic over any OpenAI-compatible server that returns log-probabilities.

It sends one request of one token for each step. This works with every such server, and faster ways to read
the scores are checked against it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from ttscaling.critic_prompt import MINUS, PLUS, critic_prefixes, label_probability
from ttscaling.selection.task_groups import run_all
from ttscaling.steps import split_steps
from ttscaling.types import Conversation, CriticError, Message, StepScores, TokenUsage

from .chat_requests import FAILURES, failure_reason, known_usage, post_chat, prompt_usage
from .retries import PAUSES

DOUBT = 0.01  # the most by which a label that isn't among the returned tokens may change a score


class RemoteCritic:
    """A Critic that reads P(+) of a step from the log-probabilities of the one token after its prefix.

    `client` has a `base_url` that ends in `/v1/`, and carries credentials and timeouts. With `token_ids` (the
    ids of "+" and "-" in the critic's vocabulary) the server returns exactly these two tokens (vLLM's
    `logprob_token_ids`). Without it, the 20 likeliest tokens are read. If one label isn't among them, because
    the critic is sure of the other one, it counts as likely as the last of them, which is the most that it
    can be. `system` is the system message that the critic was trained with. At most `max_parallel` requests
    are sent at the same time, for all answers together. While the server is busy or can't be reached, a
    request is sent again after each of `pauses` (seconds).
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        model: str,
        token_ids: Mapping[str, int] | None = None,
        system: str | None = None,
        max_parallel: int = 32,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.name = model
        self._client = client
        self._system = system
        self._free = asyncio.Semaphore(max_parallel)
        self._pauses = pauses
        labels = {"logprob_token_ids": [token_ids[PLUS], token_ids[MINUS]]} if token_ids else {}
        self._fields = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 20} | labels

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`. The prompts of an answer's steps nest, so a prefix cache can share them."""
        steps = split_steps(answer)
        prefixes = critic_prefixes(conversation, steps, system=self._system)
        used = TokenUsage()

        async def score_step(prefix: tuple[Message, ...]) -> float:
            nonlocal used
            reply: Mapping[str, Any] = {}
            try:
                async with self._free:
                    reply = await post_chat(
                        self._client, self.name, prefix, conversation, self._fields, pauses=self._pauses
                    )
                prompt_usage(reply)  # a reply without usage is no reply of such a server
                return self._probability(reply)
            except FAILURES as error:
                raise CriticError(f"critic {self.name}: {failure_reason(error)}") from error
            finally:
                prompt, cached, _ = known_usage(reply)
                used += TokenUsage(critic_prompt=prompt, critic_cached=cached)

        try:
            scores = await run_all(score_step(prefix) for prefix in prefixes)
        except CriticError as error:
            error.usage = used
            raise
        return StepScores(
            steps=steps,
            scores=tuple(scores),
            prompt_tokens=used.critic_prompt,
            cached_tokens=used.critic_cached,
        )

    def _probability(self, reply: Mapping[str, Any]) -> float:
        """Return P(+) in a reply. Raises CriticError if it holds no label, or if a missing one may matter."""
        top = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {entry["token"]: entry["logprob"] for entry in top}
        least = min(logprobs.values(), default=0.0)
        plus, minus = logprobs.get(PLUS, least), logprobs.get(MINUS, least)
        probability = label_probability(plus, minus)
        known = {PLUS, MINUS} & logprobs.keys()
        if len(known) == 2 or (len(known) == 1 and min(probability, 1 - probability) <= DOUBT):
            return probability
        raise CriticError(
            f"critic {self.name}: '{PLUS}' and '{MINUS}' are not both among the tokens that it returned; "
            "pass token_ids if its server is vLLM, and check that the model is a critic"
        )
