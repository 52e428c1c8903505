"""Many candidates in the place where vLLM's chat handler expects one generation.

The handler renders a prompt and asks its engine client to generate. Here a stand-in client answers that
call: it runs one request per candidate on the same rendered prompt (so the prefix cache and the encoder
compute prompt and images once, and each candidate ends, is judged, or is cancelled by itself), and gives
the handler the chosen candidates' outputs. Chunks, tool calls, logprobs and stop strings so stay vLLM's own
work, for a winner as for a plain answer.
"""

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from ttscaling.types import Candidate, Conversation, FailedCandidate, PolicyError

from .engine import Choose

MAX_SEED = 2**63
Generate = Callable[
    [Any, str], AsyncGenerator[Any, None]
]  # sampling parameters, request id -> RequestOutputs


class FanOut:
    """An engine client whose `generate` samples many and yields the outputs of those that `choose` takes."""

    def __init__(self, client: Any, choose: Choose, *, streamed: bool) -> None:
        self._client = client
        self._choose = choose
        self._streamed = streamed
        self.failure: Exception | None = None  # what ended the choice, for a stream that has begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """vLLM's `EngineClient.generate` as its chat handler calls it."""

        def one(params: Any, name: str) -> AsyncGenerator[Any, None]:
            generated: AsyncGenerator[Any, None] = self._client.generate(prompt, params, name, **options)
            return generated

        candidates = Candidates(one, sampling_params, request_id)
        try:
            order = await self._choose(candidates)
        except Exception as error:
            self.failure = error
            raise
        for output in candidates.replay(order, streamed=self._streamed):
            yield output


class Candidates:
    """A Policy bound to one rendered prompt; keeps every candidate's outputs so that they can be replayed."""

    def __init__(self, generate: Generate, params: Any, request_id: str) -> None:
        self._generate = generate
        self._params = params
        self._request_id = request_id
        self._outputs: dict[int, Sequence[Any]] = {}

    async def sample(
        self, conversation: Conversation, *, n: int, include_greedy: bool
    ) -> AsyncGenerator[Candidate | FailedCandidate, None]:
        """Policy's `sample`. The prompt is the rendered one, whatever `conversation` says."""

        async def one(index: int) -> Candidate | FailedCandidate:
            try:
                return await self._run(index, greedy=include_greedy and index == 0)
            except PolicyError as error:
                return FailedCandidate(index=index, reason=str(error))

        tasks = [asyncio.create_task(one(index)) for index in range(n)]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(
                *tasks, return_exceptions=True
            )  # vLLM has been told to abort when this returns

    def replay(self, order: Sequence[int], *, streamed: bool) -> list[Any]:
        """The outputs of these candidates as choices 0, 1, ...: as they were streamed, or one that holds
        them all.
        """
        if streamed:
            return [
                _as_choices(output, [(output.outputs[0], place)])
                for place, index in enumerate(order)
                for output in self._outputs[index]
            ]
        finals = [self._outputs[index][-1] for index in order]
        return [_as_choices(finals[0], [(final.outputs[0], place) for place, final in enumerate(finals)])]

    async def _run(self, index: int, *, greedy: bool) -> Candidate:
        params = sampling_of(self._params, index, greedy=greedy)
        outputs = [output async for output in self._generate(params, f"{self._request_id}-{index}")]
        completions = [output.outputs[0] for output in outputs]
        reason = completions[-1].finish_reason
        if reason not in ("stop", "length"):
            raise PolicyError(f"it ended with {reason}")
        self._outputs[index] = outputs
        return Candidate(
            index=index,
            text="".join(completion.text for completion in completions),
            finish_reason=reason,
            prompt_tokens=len(outputs[0].prompt_token_ids),
            cached_tokens=outputs[0].num_cached_tokens or 0,
            completion_tokens=sum(len(completion.token_ids) for completion in completions),
        )


def sampling_of(params: Any, index: int, *, greedy: bool) -> Any:
    """vLLM's sampling parameters of one candidate: greedy, or sampled with the request's seed + index, as
    `n` does.
    """
    own = copy.deepcopy(params)
    own.n = 1
    if greedy:
        own.temperature, own.top_p, own.top_k, own.min_p = 0.0, 1.0, 0, 0.0
        return own
    own.seed = (params.seed + index) % MAX_SEED
    if own.temperature == 0:  # a checkpoint whose own default is greedy
        own.temperature = 1.0
    return own


def _as_choices(output: Any, completions: Sequence[tuple[Any, int]]) -> Any:
    """A RequestOutput that holds these completions, each under its new index."""
    moved = copy.copy(output)
    moved.outputs = []
    for completion, place in completions:
        renumbered = copy.copy(completion)
        renumbered.index = place
        moved.outputs.append(renumbered)
    return moved
