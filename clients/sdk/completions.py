"""The server's replies: OpenAI's chat completion with `test_time_scaling` and `vision`."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """What all replies share: fields that a newer server adds stay, so that `--json` shows them."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Candidate(Wire):
    """A candidate, the final answer that it states, and its step scores.

    `text` and `steps` need return_candidates in the request.
    """

    index: int
    answer: str | None = None
    score: float | None = None
    step_scores: list[float] | None = None
    finish_reason: str | None = None
    completion_tokens: int
    text: str | None = None
    steps: list[str] | None = None


class Vote(Wire):
    """A final answer, the indices of the candidates that state it, and the sum of their scores."""

    answer: str
    candidates: list[int]
    score: float | None = None


class ScalingReport(Wire):
    """How the answer was chosen; `selected` is the winner's index, and `votes` begins with the leader."""

    method: str
    selected: int
    critic: str | None = None
    aggregation: str | None = None
    stopped: str | None = None
    degraded: str | None = None
    candidates: list[Candidate]
    votes: list[Vote] = []


class FunctionCall(Wire):
    """The function that a tool call names, and its arguments as JSON, which the model wrote."""

    name: str = ""
    arguments: str = ""


class ToolCall(Wire):
    """A call of one of the request's tools."""

    id: str | None = None
    type: str = "function"
    function: FunctionCall


class Message(Wire):
    """The message of a choice. `content` is None if it holds tool calls only."""

    role: str
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Wire):
    """One answer of a completion."""

    index: int
    message: Message
    finish_reason: str | None = None


class Completion(Wire):
    """A chat completion.

    `test_time_scaling` is None for one plain answer, and `vision` if there were no images or videos.
    """

    model: str | None = None
    choices: list[Choice]
    usage: dict[str, Any] | None = None
    vision: dict[str, Any] | None = None
    test_time_scaling: ScalingReport | None = None

    @property
    def text(self) -> str:
        """The first choice's answer."""
        return (self.choices[0].message.content or "") if self.choices else ""
