"""The answer to a question, with everything that the server says about it."""

from dataclasses import dataclass
from functools import cached_property

from .boxes import Box, boxes_in
from .completions import Candidate, Completion, ToolCall, Vote, Wire


class PromptTokens(Wire):
    """How many of the prompt's tokens the engine found in its cache."""

    cached_tokens: int | None = None


class Usage(Wire):
    """The tokens that an answer took, those of all candidates included."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokens | None = None


class Vision(Wire):
    """How images and videos were seen: delta (a list if it changes), and how many tiles and frames."""

    v2pe_delta: float | list[float] | None = None
    highest_position: float | None = None
    tiles: int = 0
    frames: int = 0


@dataclass(frozen=True)
class Answer:
    """An answer. `completion` is the whole reply, from which everything else is taken.

    What a server doesn't send is empty or None: another server than this one sends no candidates, no votes
    and no vision.
    """

    completion: Completion
    usage: Usage | None = None
    vision: Vision | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        """The answer, or the first of several."""
        return self.completion.text

    @property
    def texts(self) -> list[str]:
        """All answers of a request with `n` above 1, the best first."""
        return [choice.message.content or "" for choice in self.completion.choices]

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls of tools that the first answer asks for."""
        return list(self.completion.choices[0].message.tool_calls or ()) if self.completion.choices else []

    @property
    def finish_reason(self) -> str | None:
        """Why the first answer ended: `stop`, `length`, `tool_calls` or another word of the server."""
        return self.completion.choices[0].finish_reason if self.completion.choices else None

    @property
    def candidates(self) -> list[Candidate]:
        """All candidates, in the order of their indices."""
        scaling = self.completion.test_time_scaling
        return [] if scaling is None else scaling.candidates

    @property
    def selected(self) -> Candidate | None:
        """The candidate that was chosen."""
        scaling = self.completion.test_time_scaling
        if scaling is None:
            return None
        chosen = (candidate for candidate in scaling.candidates if candidate.index == scaling.selected)
        return next(chosen, None)

    @property
    def step_scores(self) -> list[float]:
        """The critic's probability, for each step of the chosen candidate, that it is right."""
        return [] if self.selected is None else list(self.selected.step_scores or ())

    @property
    def votes(self) -> list[Vote]:
        """The final answers and who states them, the leading one first."""
        scaling = self.completion.test_time_scaling
        return [] if scaling is None else scaling.votes

    @property
    def degraded(self) -> str | None:
        """What failed while the answer was chosen, or None. Only this says that a critic was not there."""
        scaling = self.completion.test_time_scaling
        return None if scaling is None else scaling.degraded

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes that the answer names, as InternVL writes them."""
        return boxes_in(self.text)


def answer_of(completion: Completion) -> Answer:
    """Return the answer in a completion. Raises pydantic's ValidationError for a usage of another shape."""
    return Answer(
        completion,
        usage=None if completion.usage is None else Usage.model_validate(completion.usage),
        vision=None if completion.vision is None else Vision.model_validate(completion.vision),
    )
