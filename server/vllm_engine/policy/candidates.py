"""Many candidates in the place where vLLM's chat handler expects one generation.

The handler renders a prompt and asks its engine client to generate. Here a stand-in client answers that
call: it runs one request per candidate on the same rendered prompt (so the prefix cache and the encoder
compute prompt and images once, and each candidate ends, is judged, or is cancelled by itself), and gives
the handler the chosen candidates' outputs. Chunks, tool calls, logprobs and stop strings so stay vLLM's own
work, for a winner as for a plain answer.
"""

import asyncio
import copy
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from server.engine_interface import ChooseCandidates
from server.errors import ApiError
from ttscaling.steps import SEPARATOR
from ttscaling.types import (
    ABANDONED,
    Candidate,
    Conversation,
    InvalidCandidate,
    OnDraft,
    PolicyError,
    TokenUsage,
    ignore_draft,
)

from .generated import GeneratedOutput, find_stop_across_steps, merged_output, split_into_chunks

MAX_SEED = 2**63
MOST_BLANKS = 4  # paragraphs without a word that are passed over to get to a step
ABORT_SECONDS = 10.0  # for an engine to confirm; it does so at once, unless it hangs
FindProblem = Callable[
    [str, Sequence[int], str], str | None
]  # text, token ids, finish reason -> what is wrong


class CandidateClient:
    """An engine client whose `generate` samples many and yields the outputs of those that `choose` takes."""

    def __init__(
        self,
        client: Any,
        choose: ChooseCandidates,
        *,
        streamed: bool,
        find_problem: FindProblem | None = None,
    ) -> None:
        """`find_problem`: why a finished candidate breaks the request's own rules, if it does."""
        self._client = client
        self._choose = choose
        self._streamed = streamed
        self._find_problem = find_problem
        self.failure: Exception | None = None  # what ended the choice, for a stream that has begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """vLLM's `EngineClient.generate` as its chat handler calls it."""
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
    """A Policy and StepPolicy bound to one rendered prompt, whatever conversation it is asked about.

    `usage` is what all its requests took, as the engine counts it: aborted and failed ones, too.
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
        # Clients choose request ids, perhaps one twice: an abort must not reach another's candidates.
        self._name = f"{request_id}-{secrets.token_hex(4)}"
        self._options = options
        self._find_problem = find_problem
        self._most_tokens = params.max_tokens  # of an answer
        self._answers: dict[int, tuple[GeneratedOutput, ...]] = {}  # the requests that wrote each
        self.usage = TokenUsage()

    @property
    def prompt_tokens(self) -> int:
        """Of the rendered prompt; 0 before anything was written."""
        begun = (steps[0].outputs[0] for steps in self._answers.values() if steps[0].outputs)
        return max((len(output.prompt_token_ids) for output in begun), default=0)

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
        params = sampling_of(self._params, index, greedy=greedy)
        if streamed and params.output_kind.name == "FINAL_ONLY":
            params.output_kind = type(params.output_kind)["CUMULATIVE"]
        written = GeneratedOutput(index, deltas=params.output_kind.name == "DELTA")
        self._answers[index] = (written,)
        try:
            await self._run(written, self._prompt, params, on_draft if streamed else ignore_draft)
        except asyncio.CancelledError:
            if written.token_ids:
                on_draft(written.candidate(ABANDONED))
            raise
        reason, _ = _end(written)
        candidate = written.candidate(reason)
        why = (
            None
            if self._find_problem is None
            else self._find_problem(written.text, written.token_ids, reason)
        )
        if why is not None:
            raise InvalidCandidate(candidate, why)
        return candidate

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        """See `StepPolicy.extend`. The prompt goes on with the very tokens that the parent's steps are."""
        if self._params.structured_outputs is not None:
            raise ApiError(
                "beam_search writes step by step, which response_format and forced tools don't allow. "
                "Send method best_of_n.",
                param="test_time_scaling.method",
            )
        begun = self._answers.get(parent.index, ())
        own: list[GeneratedOutput] = []
        while not own or (own[-1].continues and not own[-1].text.strip() and len(own) < MOST_BLANKS):
            before = (*begun, *own)
            own.append(await self._step(before, index, greedy=greedy))
            if (stop := find_stop_across_steps(before, own[-1], self._params.stop or ())) is not None:
                own[-1].cut(stop)
        self._answers[index] = (*begun, *own)
        usage = sum((step.usage for step in own), TokenUsage())
        return Candidate(
            index=index,
            text=own[-1].text,
            finish_reason=None if own[-1].continues else own[-1].end[0],
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
        )

    async def _step(self, begun: Sequence[GeneratedOutput], index: int, *, greedy: bool) -> GeneratedOutput:
        """What follows these steps, to the next separator. Raises PolicyError."""
        token_ids = [token for step in begun for token in step.token_ids]
        params = sampling_of(self._params, index, greedy=greedy)
        params.output_kind = type(params.output_kind)["FINAL_ONLY"]
        params.stop = [*(params.stop or ()), SEPARATOR]
        params.min_tokens = max(0, params.min_tokens - len(token_ids))
        if self._most_tokens is not None:
            params.max_tokens = self._most_tokens - len(token_ids)
        written = GeneratedOutput(index, deltas=False)
        if params.max_tokens == 0:
            return written  # the steps have used up what an answer may have
        prompt = self._prompt
        if token_ids:
            prompt = {**prompt, "prompt_token_ids": [*prompt["prompt_token_ids"], *token_ids]}
        await self._run(written, prompt, params, ignore_draft)
        if not begun:
            self._most_tokens = params.max_tokens  # cut down to the window by the client
        _, stopped_by = _end(written)
        written.continues = stopped_by == SEPARATOR and SEPARATOR not in (self._params.stop or ())
        return written

    def replay(self, order: Sequence[int], *, streamed: bool) -> list[Any]:
        """The outputs of these candidates as choices 0, 1, ...: as they were streamed, or one that holds
        them all.
        """
        answers = [self._answers[index] for index in order]
        if streamed:
            return [
                output for place, steps in enumerate(answers) for output in split_into_chunks(steps, place)
            ]
        return [merged_output(answers)]

    async def _run(self, written: GeneratedOutput, prompt: Any, params: Any, on_draft: OnDraft) -> None:
        """One request, read to its end. If cancelled, the engine aborts it, and tells all it has counted."""
        name = f"{self._name}-{written.index}"
        failure: list[Exception] = []
        self._touch_media()

        async def read() -> None:
            try:
                async for output in self._client.generate(prompt, params, name, **self._options):
                    written.take(output)
                    if output.outputs[0].finish_reason is None:
                        on_draft(written.candidate(None))
            except Exception as error:
                failure.append(error)

        reading = asyncio.create_task(read())
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # a reading created in this very turn of the loop gets to the engine first
            await self._client.abort(name)
            await asyncio.wait([reading], timeout=ABORT_SECONDS)
            raise
        finally:
            reading.cancel()
            self.usage += written.usage
        if failure:
            raise failure[0]

    def _touch_media(self) -> None:
        """vLLM's caches of media, here and in the engine, must age alike, however late a candidate begins."""
        cache = self._client.renderer.mm_processor_cache
        if cache is not None:
            for hashes in self._prompt.get("mm_hashes", {}).values():
                for each in hashes:
                    cache.touch_sender_cache_item(each)


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


def _end(written: GeneratedOutput) -> tuple[str, Any]:
    """Why it ended, and at which stop string or token, if at one. Raises PolicyError if it broke off."""
    if not written.outputs:
        raise PolicyError("the engine returned nothing")
    completion = written.outputs[-1].outputs[0]
    if completion.finish_reason not in ("stop", "length"):
        raise PolicyError(f"it ended with {completion.finish_reason}")
    return completion.finish_reason, completion.stop_reason
