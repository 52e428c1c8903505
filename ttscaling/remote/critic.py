"""A critic over any OpenAI-compatible server that returns log-probabilities.

It sends one request of one token for each step. This works with every such server, and faster ways to read
the scores are checked against it.
"""

from collections.abc import Mapping

import httpx

from ttscaling.critic_prompt import MINUS, PLUS, critic_prefixes, label_probability
from ttscaling.selection.task_groups import run_all
from ttscaling.steps import split_steps
from ttscaling.types import Conversation, CriticError, Message, StepScores

from .chat_requests import FAILURES, failure_reason, post_chat, prompt_usage


class RemoteCritic:
    """A Critic that reads P(+) of a step from the log-probabilities of the one token after its prefix.

    `client` has a `base_url` that ends in `/v1/`, and carries credentials and timeouts. With `token_ids` (the
    ids of "+" and "-" in the critic's vocabulary) the server returns exactly these two tokens (vLLM's
    `logprob_token_ids`). Without it, both must be among the 20 likeliest tokens. `system` is the system
    message that the critic was trained with.
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
        labels = {"logprob_token_ids": [token_ids[PLUS], token_ids[MINUS]]} if token_ids else {}
        self._fields = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 20} | labels

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`.

        The requests of all steps are sent at once. Their prompts nest, so a prefix cache can share them.
        """
        steps = split_steps(answer)
        prefixes = critic_prefixes(conversation, steps, system=self._system)
        replies = await run_all(self._score_step(prefix, conversation) for prefix in prefixes)
        scores, prompt_tokens, cached_tokens = zip(*replies, strict=True)
        return StepScores(
            steps=steps, scores=scores, prompt_tokens=sum(prompt_tokens), cached_tokens=sum(cached_tokens)
        )

    async def _score_step(
        self, prefix: tuple[Message, ...], conversation: Conversation
    ) -> tuple[float, int, int]:
        """Return the score of one step, and the prompt tokens and cached tokens that it took."""
        try:
            reply = await post_chat(self._client, self.name, prefix, conversation, self._fields)
            top = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            logprobs = {entry["token"]: entry["logprob"] for entry in top}
            usage = prompt_usage(reply)
        except FAILURES as error:
            raise CriticError(f"critic {self.name}: {failure_reason(error)}") from error
        if PLUS not in logprobs or MINUS not in logprobs:
            raise CriticError(
                f"critic {self.name}: '{PLUS}' and '{MINUS}' are not both among the tokens that it returned; "
                "pass token_ids if its server is vLLM, and check that the model is a critic"
            )
        return label_probability(logprobs[PLUS], logprobs[MINUS]), *usage
