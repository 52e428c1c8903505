"""TODO: what this file is about."""

from collections.abc import Mapping

import httpx

from ttscaling.critic_prompt import MINUS, PLUS, critic_prefixes, label_probability
from ttscaling.selection.task_groups import run_all
from ttscaling.steps import split_steps
from ttscaling.types import Conversation, CriticError, Message, StepScores

from .chat_requests import FAILURES, failure_reason, post_chat, prompt_usage


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
        prefixes = critic_prefixes(conversation, steps, system=self._system)
        readings = await run_all(self._read(prefix, conversation) for prefix in prefixes)
        scores, prompt_tokens, cached_tokens = zip(*readings, strict=True)
        return StepScores(
            steps=steps, scores=scores, prompt_tokens=sum(prompt_tokens), cached_tokens=sum(cached_tokens)
        )

    async def _read(self, prefix: tuple[Message, ...], conversation: Conversation) -> tuple[float, int, int]:
        """One step's score, and the prompt tokens and cached tokens that it took."""
        try:
            reply = await post_chat(self._client, self.name, prefix, conversation, self._read_out)
            top = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            logprobs = {entry["token"]: entry["logprob"] for entry in top}
            usage = prompt_usage(reply)
        except FAILURES as error:
            raise CriticError(f"critic {self.name}: {failure_reason(error)}") from error
        if PLUS not in logprobs or MINUS not in logprobs:
            raise CriticError(
                f"critic {self.name}: '{PLUS}' and '{MINUS}' are not both among the tokens it returned; "
                "give token_ids if its server is vLLM, and check that the model is a critic"
            )
        return label_probability(logprobs[PLUS], logprobs[MINUS]), *usage
