"""What one engine request has generated, and how such pieces become an answer that vLLM's handler takes."""

import copy
from collections.abc import Sequence
from typing import Any

from ttscaling.steps import SEPARATOR
from ttscaling.types import Candidate, TokenUsage


class GeneratedOutput:
    """One request's outputs so far. Where they aren't deltas, the last holds all of them."""

    def __init__(self, index: int, *, deltas: bool) -> None:
        self.index = index
        self._deltas = deltas
        self.outputs: list[Any] = []
        self.text = ""
        self.token_ids: list[int] = []
        self.continues = False  # it is one step of an answer, and not the last
        self._cut_by: str | None = None

    def take(self, output: Any) -> None:
        """The next of the engine's outputs."""
        completion = output.outputs[0]
        if self._deltas:
            self.outputs.append(output)
            self.text += completion.text
            self.token_ids += completion.token_ids
        else:
            self.outputs = [output]
            self.text, self.token_ids = completion.text, list(completion.token_ids)

    def cut(self, stop: str) -> None:
        """It completed a stop string that began before it: the answer ends there, and this adds no text."""
        self.text, self.continues, self._cut_by = "", False, stop

    @property
    def end(self) -> tuple[str, Any]:
        """Finish reason and stop reason if the answer ends here: what was cut off ends with "length"."""
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
        """As the engine counts: a prompt counts once the first token is there."""
        if not self.token_ids:
            return TokenUsage()
        return TokenUsage(
            prompt=len(self.outputs[0].prompt_token_ids),
            cached=self.outputs[0].num_cached_tokens or 0,
            completion=len(self.token_ids),
        )

    def candidate(self, finish_reason: str | None) -> Candidate:
        usage = self.usage
        return Candidate(
            index=self.index,
            text=self.text,
            finish_reason=finish_reason,
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
        )


def find_stop_across_steps(
    steps: Sequence[GeneratedOutput], last: GeneratedOutput, stops: Sequence[str]
) -> str | None:
    """The stop string that begins in these steps or behind them and ends in the last one, if one does: the
    engine sees each step alone.
    """
    if not steps:
        return None
    before = "".join(step.text + SEPARATOR for step in steps if step.text.strip()) or SEPARATOR
    for stop in stops:
        if 0 <= (before + last.text).find(stop, max(0, len(before) - len(stop) + 1)) < len(before):
            return stop
    return None


def split_into_chunks(steps: Sequence[GeneratedOutput], place: int) -> list[Any]:
    """The outputs of an answer written in these requests, as choice `place`, in the pieces they came in.

    Of several steps, blank ones add no text.
    """
    pieces = []
    text = ""
    for written in steps:
        blank = len(steps) > 1 and not written.text.strip()
        for output in written.outputs:
            piece = copy.copy(output.outputs[0])
            piece.index, piece.finish_reason, piece.stop_reason = place, None, None
            if blank:
                piece.text = ""
            elif output is written.outputs[0] and text:
                piece.text = SEPARATOR + piece.text
            text += piece.text
            pieces.append(_output(steps, [piece]))
    piece.finish_reason, piece.stop_reason = steps[-1].end
    pieces[-1].finished = True
    return pieces


def merged_output(answers: Sequence[Sequence[GeneratedOutput]]) -> Any:
    """One output that holds all these answers as choices 0, 1, ..."""
    completions = []
    for place, steps in enumerate(answers):
        pieces = [piece.outputs[0] for piece in split_into_chunks(steps, place)]
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
    """An output of the prompt that these steps answer, with these completions."""
    output = copy.copy(steps[0].outputs[0])
    output.outputs, output.finished = completions, False
    return output
