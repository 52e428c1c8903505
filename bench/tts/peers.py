"""The peers of `internvl3 bench tts`, each its own code over stock `vllm serve`.

its_hub's server has no Best-of-N (1.2 offers self-consistency alone), so its library is asked, as its
documentation shows. Its LLMJudge writes an image's base64 into the judge's prompt as text, so it gets a
reward model that sees the image: our critic, read over HTTP. optillm drops images; its policy rates answers.
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
    """The mean of a process critic's step scores, all steps of all answers asked for at once."""

    def __init__(self, critic: RemoteCritic) -> None:
        self._critic = critic

    def score(self, messages: Any, **_: Any) -> list[float]:
        raise NotImplementedError("BestOfN calls ascore")

    async def ascore(self, messages: Any, orchestrator: Any = None, **_: Any) -> list[float]:
        return list(await asyncio.gather(*(self._score(conversation) for conversation in messages)))

    async def _score(self, messages: list[ChatMessage]) -> float:
        *asked, answer = (message.to_dict() for message in messages)
        scores = await self._critic.score(Conversation(messages=tuple(asked)), answer["content"])
        return aggregate(scores.scores, "mean")


class ItsHub(BestOfNService):
    """its_hub's library."""

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

            yield ask
        await lm.close()


class Optillm(BestOfNService):
    """optillm's server, one for each N: it takes N as a flag."""

    names = ("policy", "optillm {n}")
    counting = 1

    @asynccontextmanager
    async def asking(self, case: Mapping[str, Any]) -> AsyncIterator[Ask]:
        async def ask(messages: list[dict[str, Any]]) -> str:
            body = {"model": f"bon-{POLICY}", "messages": messages, **SAMPLING}
            return content_of(await client.post("chat/completions", json=body))

        async with client_of(case["servers"][f"optillm {case['n']}"]) as client:
            yield ask
