"""Sample many candidates where vLLM's chat handler expects one generation.

The handler renders a prompt and calls `generate` of its engine client. A substitute client answers this call.
It runs one engine request per candidate on the same rendered prompt, and returns the outputs of the chosen
candidates. So the engine computes the prompt and its images once, and each candidate can end, be scored or be
cancelled separately. vLLM's handler writes chunks, tool calls, logprobs and stop strings for a chosen
candidate exactly as for a plain answer.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from server.errors import ApiError
from server.prompts import ChooseCandidates
from server.telemetry.tracing import span
from server.vllm_engine.aborting import read_or_abort
from server.vllm_engine.error_mapping import candidate_error
from server.vllm_engine.media_cache import touch_in_media_thread
from ttscaling.steps import SEPARATOR
from ttscaling.types import (
    ABANDONED,
    Candidate,
    Conversation,
    InvalidCandidate,
    OnDraft,
    TokenUsage,
    ignore_draft,
)

from .generated import (
    GeneratedOutput,
    candidate_params,
    checked_end,
    find_stop_across_steps,
    merged_output,
    split_into_chunks,
)

MOST_BLANKS = 4  # paragraphs without a word that may come before a step
# Returns why a finished candidate is invalid, or None, from its text, token ids and finish reason.
FindProblem = Callable[[str, Sequence[int], str], str | None]


class CandidateClient:
    """An engine client for one chat request. Its `generate` yields the outputs of the chosen candidates."""

    def __init__(
        self,
        client: Any,
        choose: ChooseCandidates,
        *,
        streamed: bool,
        find_problem: FindProblem | None = None,
    ) -> None:
        self._client = client
        self._choose = choose
        self._streamed = streamed
        self._find_problem = find_problem
        self.failure: Exception | None = None  # the error that ended the selection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """Yield the outputs of the chosen candidates. The arguments are those of `EngineClient.generate`."""
        candidates = Candidates(
            self._client, prompt, sampling_params, request_id, options, find_problem=self._find_problem
        )
        try:
            order = await self._choose(candidates)
        except Exception as error:
            self.failure = error
            raise
        for output in candidates.replay(order, streamed=self._streamed):
            yield output


class Candidates:
    """A Policy and StepPolicy that always answers one rendered prompt and ignores `conversation`.

    `usage` counts the tokens of all requests as the engine does, including aborted and failed requests.
    """

    def __init__(
        self,
        client: Any,
        prompt: Any,
        params: Any,
        request_id: str,
        options: Mapping[str, Any],
        *,
        find_problem: FindProblem | None = None,
    ) -> None:
        self._client = client
        self._prompt = prompt
        self._params = params
        # Two clients may choose the same request id. An abort must not reach the other's candidates.
        self._name = f"{request_id}-{secrets.token_hex(4)}"
        self._options = options
        self._find_problem = find_problem
        self._max_tokens = params.max_tokens  # of one answer
        self._answers: dict[int, tuple[GeneratedOutput, ...]] = {}  # the requests that wrote each candidate
        self.usage = TokenUsage()

    @property
    def prompt_tokens(self) -> int:
        """The tokens of the rendered prompt; 0 before the engine has written the first token."""
        first_outputs = (steps[0].outputs[0] for steps in self._answers.values() if steps[0].outputs)
        return max((len(output.prompt_token_ids) for output in first_outputs), default=0)

    async def sample(
        self,
        conversation: Conversation,
        *,
        index: int,
        greedy: bool,
        streamed: bool = False,
        on_draft: OnDraft = ignore_draft,
    ) -> Candidate:
        """See `Policy.sample`."""
        with span("candidate", index=index):
            return await self._sample(index, greedy=greedy, streamed=streamed, on_draft=on_draft)

    async def _sample(self, index: int, *, greedy: bool, streamed: bool, on_draft: OnDraft) -> Candidate:
        params = candidate_params(self._params, index, greedy=greedy)
        if streamed and params.output_kind.name == "FINAL_ONLY":
            params.output_kind = type(params.output_kind)["CUMULATIVE"]
        generated = GeneratedOutput(index, deltas=params.output_kind.name == "DELTA")
        self._answers[index] = (generated,)
        try:
            await self._run(generated, self._prompt, params, on_draft if streamed else ignore_draft)
        except asyncio.CancelledError:
            if generated.token_ids:
                on_draft(generated.candidate(ABANDONED))
            raise
        reason, _ = checked_end(generated)
        candidate = generated.candidate(reason)
        problem = None
        if self._find_problem is not None:
            problem = self._find_problem(generated.text, generated.token_ids, reason)
        if problem is not None:
            raise InvalidCandidate(candidate, problem)
        return candidate

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        """See `StepPolicy.extend`. The engine continues exactly the tokens of the parent's steps.

        Raises ApiError (400) if the request has a response format or forces a tool.
        """
        if self._params.structured_outputs is not None:
            raise ApiError(
                "beam_search writes step by step, which isn't possible with response_format or forced tools. "
                "Send method best_of_n.",
                param="test_time_scaling.method",
            )
        parent_steps = self._answers.get(parent.index, ())
        new_steps: list[GeneratedOutput] = []
        while not new_steps or (
            new_steps[-1].continues and not new_steps[-1].text.strip() and len(new_steps) < MOST_BLANKS
        ):
            previous = (*parent_steps, *new_steps)
            new_steps.append(await self._write_step(previous, index, greedy=greedy))
            stop = find_stop_across_steps(previous, new_steps[-1], self._params.stop or ())
            if stop is not None:
                new_steps[-1].cut(stop)
        self._answers[index] = (*parent_steps, *new_steps)
        usage = sum((step.usage for step in new_steps), TokenUsage())
        return Candidate(
            index=index,
            text=new_steps[-1].text,
            finish_reason=None if new_steps[-1].continues else new_steps[-1].end[0],
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
        )

    async def _write_step(
        self, previous: Sequence[GeneratedOutput], index: int, *, greedy: bool
    ) -> GeneratedOutput:
        """Return the output after these steps, up to the next separator. Raise PolicyError on failure."""
        token_ids = [token for step in previous for token in step.token_ids]
        params = candidate_params(self._params, index, greedy=greedy)
        params.output_kind = type(params.output_kind)["FINAL_ONLY"]
        params.stop = [*(params.stop or ()), SEPARATOR]
        params.min_tokens = max(0, params.min_tokens - len(token_ids))
        if self._max_tokens is not None:
            params.max_tokens = self._max_tokens - len(token_ids)
        generated = GeneratedOutput(index, deltas=False)
        if params.max_tokens == 0:
            return generated  # the previous steps have used up max_tokens
        prompt = self._prompt
        if token_ids:
            prompt = {**prompt, "prompt_token_ids": [*prompt["prompt_token_ids"], *token_ids]}
        with span("candidate", index=index, step=len(previous)):
            await self._run(generated, prompt, params, ignore_draft)
        if not previous:
            self._max_tokens = params.max_tokens  # the client has limited it to the window
        _, stopped_by = checked_end(generated)
        generated.continues = stopped_by == SEPARATOR and SEPARATOR not in (self._params.stop or ())
        return generated

    def replay(self, order: Sequence[int], *, streamed: bool) -> list[Any]:
        """Return these candidates' engine outputs as choices 0, 1, ... Without a stream it is one output."""
        answers = [self._answers[index] for index in order]
        if streamed:
            return [chunk for index, steps in enumerate(answers) for chunk in split_into_chunks(steps, index)]
        return [merged_output(answers)]

    async def _run(self, generated: GeneratedOutput, prompt: Any, params: Any, on_draft: OnDraft) -> None:
        """Run one engine request and collect its outputs in `generated`.

        Cancelling aborts the request. `generated` still gets all outputs that the engine has counted.
        """
        name = f"{self._name}-{generated.index}"
        failure: list[Exception] = []
        # A candidate that begins later would only use the engine's cache.
        touch_in_media_thread(self._client.renderer, self._prompt)

        async def read() -> None:
            try:
                async for output in self._client.generate(prompt, params, name, **self._options):
                    generated.take(output)
                    if output.outputs[0].finish_reason is None:
                        on_draft(generated.candidate(None))
            except Exception as error:
                failure.append(error)

        try:
            await read_or_abort(read(), self._client, name)
        finally:
            self.usage += generated.usage
        if failure:
            raise candidate_error(failure[0])
