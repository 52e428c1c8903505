"""The parameters and outputs of one engine request, and their conversion for vLLM's chat handler."""

import copy
from collections.abc import Sequence
from typing import Any

from ttscaling.seeds import candidate_seed
from ttscaling.steps import SEPARATOR
from ttscaling.types import Candidate, PolicyError, TokenUsage


def candidate_params(params: Any, index: int, *, greedy: bool) -> Any:
    """Return vLLM's sampling parameters for one candidate.

    It is greedy, or it is sampled with its `candidate_seed`.
    """
    copied = copy.deepcopy(params)
    copied.n = 1
    if greedy:
        copied.temperature, copied.top_p, copied.top_k, copied.min_p = 0.0, 1.0, 0, 0.0
        return copied
    copied.seed = candidate_seed(params.seed, index)
    if copied.temperature == 0:  # the checkpoint's default is greedy, so all candidates would be the same
        copied.temperature = 1.0
    return copied


class GeneratedOutput:
    """The outputs of one engine request so far.

    With `deltas`, every output of the engine adds tokens. Otherwise the last output holds all tokens.
    """

    def __init__(self, index: int, *, deltas: bool) -> None:
        self.index = index
        self._deltas = deltas
        self.outputs: list[Any] = []
        self.text = ""
        self.token_ids: list[int] = []
        self.continues = False  # true for a step that is not the last one of its answer
        self._cut_by: str | None = None

    def take(self, output: Any) -> None:
        """Add the engine's next output."""
        completion = output.outputs[0]
        if self._deltas:
            self.outputs.append(output)
            self.text += completion.text
            self.token_ids += completion.token_ids
        else:
            self.outputs = [output]
            self.text, self.token_ids = completion.text, list(completion.token_ids)

    def cut(self, stop: str) -> None:
        """End the answer before this step, because the step completes a stop string that began before it."""
        self.text, self.continues, self._cut_by = "", False, stop

    @property
    def end(self) -> tuple[str, Any]:
        """The finish and stop reasons of an answer that ends here; "length" if it was aborted."""
        if self._cut_by is not None:
            return "stop", self._cut_by
        if not self.outputs or self.continues:
            return "length", None
        completion = self.outputs[-1].outputs[0]
        if completion.finish_reason == "abort":
            return "length", None
        return completion.finish_reason, completion.stop_reason

    @property
    def usage(self) -> TokenUsage:
        """The usage as the engine counts it. The prompt counts only after the first token was generated."""
        if not self.token_ids:
            return TokenUsage()
        return TokenUsage(
            prompt=len(self.outputs[0].prompt_token_ids),
            cached=self.outputs[0].num_cached_tokens or 0,
            completion=len(self.token_ids),
        )

    def candidate(self, finish_reason: str | None) -> Candidate:
        """Return the text so far as a candidate with this finish reason."""
        usage = self.usage
        return Candidate(
            index=self.index,
            text=self.text,
            finish_reason=finish_reason,
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
        )


def checked_end(generated: GeneratedOutput) -> tuple[str, Any]:
    """Return the finish reason and the stop string or token. Raise PolicyError if the request failed."""
    if not generated.outputs:
        raise PolicyError("the engine returned nothing")
    completion = generated.outputs[-1].outputs[0]
    if completion.finish_reason not in ("stop", "length"):
        raise PolicyError(f"the generation ended with {completion.finish_reason}")
    return completion.finish_reason, completion.stop_reason


def find_stop_across_steps(
    steps: Sequence[GeneratedOutput], last: GeneratedOutput, stops: Sequence[str]
) -> str | None:
    """Return the stop string that begins before the last step and ends in it, or None.

    The engine can't find such a stop string, because it generates each step in a separate request.

    Args:
        steps: the steps before the last one.
        last: the last step.
        stops: the stop strings of the request.
    """
    if not steps:
        return None
    before = "".join(step.text + SEPARATOR for step in steps if step.text.strip()) or SEPARATOR
    for stop in stops:
        if 0 <= (before + last.text).find(stop, max(0, len(before) - len(stop) + 1)) < len(before):
            return stop
    return None


def split_into_chunks(steps: Sequence[GeneratedOutput], choice_index: int) -> list[Any]:
    """Return the engine outputs of one answer as choice `choice_index`, in the pieces in which they arrived.

    Steps without a word add their tokens, but no text, if there are several steps.
    """
    pieces = []
    text = ""
    for step in steps:
        blank = len(steps) > 1 and not step.text.strip()
        for output in step.outputs:
            piece = copy.copy(output.outputs[0])
            piece.index, piece.finish_reason, piece.stop_reason = choice_index, None, None
            if blank:
                piece.text = ""
            elif output is step.outputs[0] and text:
                piece.text = SEPARATOR + piece.text
            text += piece.text
            pieces.append(_output(steps, [piece]))
    piece.finish_reason, piece.stop_reason = steps[-1].end
    pieces[-1].finished = True
    return pieces


def merged_output(answers: Sequence[Sequence[GeneratedOutput]]) -> Any:
    """Return one engine output that holds all these answers as choices 0, 1, ..."""
    completions = []
    for index, steps in enumerate(answers):
        pieces = [chunk.outputs[0] for chunk in split_into_chunks(steps, index)]
        completion = copy.copy(pieces[-1])
        completion.text = "".join(piece.text for piece in pieces)
        completion.token_ids = [token for piece in pieces for token in piece.token_ids]
        if completion.logprobs is not None:
            completion.logprobs = [entry for piece in pieces for entry in piece.logprobs]
        completions.append(completion)
    output = _output(answers[0], completions)
    output.finished = True
    return output


def _output(steps: Sequence[GeneratedOutput], completions: list[Any]) -> Any:
    """Return an engine output with these completions, for the prompt of these steps."""
    output = copy.copy(steps[0].outputs[0])
    output.outputs, output.finished = completions, False
    return output
