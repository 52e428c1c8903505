"""The peers of `internvl3 bench tts`, which run their own code over `vllm serve`.

The server of its_hub 1.2 offers self-consistency but no Best-of-N, so its library is called, as its
documentation shows. Its LLMJudge writes an image's base64 into the judge's prompt as text. So it gets a
reward model that sees the image: our critic, whose scores are read over HTTP. optillm drops images, and its
policy rates the answers.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from its_hub.api import AbstractOutcomeRewardModel, ChatMessage
from its_hub.core.algorithms.bon import BestOfN
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.orchestrator import LMOrchestrator
from transformers import AutoTokenizer

from server.settings import Settings
from ttscaling.critic_prompt import MINUS, PLUS
from ttscaling.remote.critic import RemoteCritic
from ttscaling.selection.aggregation import aggregate
from ttscaling.types import Conversation

from .systems import CRITIC, POLICY, SAMPLING, Ask, BestOfNService, client_of, content_of


class Critic(AbstractOutcomeRewardModel):
    """its_hub's reward model: the mean of our critic's step scores, with all steps requested at once."""

    def __init__(self, critic: RemoteCritic) -> None:
        self._critic = critic

    def score(self, messages: Any, **_: Any) -> list[float]:
        raise NotImplementedError("BestOfN calls ascore")

    async def ascore(self, messages: Any, orchestrator: Any = None, **_: Any) -> list[float]:
        return list(await asyncio.gather(*(self._score(conversation) for conversation in messages)))

    async def _score(self, messages: list[ChatMessage]) -> float:
        *question, answer = (message.to_dict() for message in messages)
        scores = await self._critic.score(Conversation(messages=tuple(question)), answer["content"])
        return aggregate(scores.scores, "mean")


class ItsHub(BestOfNService):
    """its_hub's library over the policy's and the critic's `vllm serve`."""

    names = ("policy", "critic")
    counting = 2

    def __init__(self) -> None:
        super().__init__()
        tokenizer = AutoTokenizer.from_pretrained(Settings().critic_path)
        self._labels = {label: tokenizer.convert_tokens_to_ids(label) for label in (PLUS, MINUS)}

    @asynccontextmanager
    async def asking(self, case: Mapping[str, Any]) -> AsyncIterator[Ask]:
        lm = OpenAICompatibleLanguageModel(f"{case['servers']['policy'][0]}/v1", "none", POLICY, **SAMPLING)
        async with client_of(case["servers"]["critic"]) as client:
            critic = Critic(RemoteCritic(client, model=CRITIC, token_ids=self._labels))
            best_of_n = BestOfN(critic, LMOrchestrator())

            async def ask(messages: list[dict[str, Any]]) -> str:
                chat = [ChatMessage.from_dict(message) for message in messages]
                return (await best_of_n.ainfer(lm, chat, case["n"]))["content"] or ""

            try:
                yield ask
            finally:
                await lm.close()


class Optillm(BestOfNService):
    """optillm's server. It takes N as a flag, so there is one server for each N."""

    names = ("policy", "optillm {n}")
    counting = 1

    @asynccontextmanager
    async def asking(self, case: Mapping[str, Any]) -> AsyncIterator[Ask]:
        async def ask(messages: list[dict[str, Any]]) -> str:
            body = {"model": f"bon-{POLICY}", "messages": messages, **SAMPLING}
            return content_of(await client.post("chat/completions", json=body))

        async with client_of(case["servers"][f"optillm {case['n']}"]) as client:
            yield ask
