"""The bodies that go out and come back: OpenAI's chat completion with this server's `test_time_scaling`."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class _Wire(BaseModel):
    # Fields that a newer server adds are kept, so that `--json` shows them.
    model_config = ConfigDict(extra="allow", frozen=True)


class Candidate(_Wire):
    """One candidate; `text` and `steps` are there if the request said return_candidates."""

    index: int
    score: float | None = None
    step_scores: list[float] | None = None
    finish_reason: str | None = None
    completion_tokens: int
    text: str | None = None
    steps: list[str] | None = None


class ScalingReport(_Wire):
    """How the answer was chosen; `selected` is the winner's index."""

    method: str
    selected: int
    critic: str | None = None
    aggregation: str | None = None
    stopped: str | None = None
    degraded: str | None = None
    candidates: list[Candidate]


class Message(_Wire):
    role: str
    content: str | None = None


class Choice(_Wire):
    index: int
    message: Message
    finish_reason: str | None = None


class Completion(_Wire):
    """A chat completion. `test_time_scaling` is None where one plain answer was asked for, `vision`
    where nothing was to be seen."""

    model: str | None = None
    choices: list[Choice]
    usage: dict[str, Any] | None = None
    vision: dict[str, Any] | None = None
    test_time_scaling: ScalingReport | None = None

    @property
    def text(self) -> str:
        """The first choice's answer."""
        return self.choices[0].message.content or ""
