"""The fields that this server adds to OpenAI's reply."""

from pydantic import BaseModel


class CandidateReport(BaseModel):
    """An entry of the reply's `test_time_scaling.candidates`."""

    index: int
    answer: str | None  # the final answer that the candidate states
    score: float | None
    step_scores: list[float] | None
    finish_reason: str | None
    completion_tokens: int
    text: str | None = None
    steps: list[str] | None = None


class VoteReport(BaseModel):
    """An entry of the reply's `test_time_scaling.votes`: a final answer and who states it."""

    answer: str
    candidates: list[int]
    score: float | None  # the sum of the candidates' scores


class PolicyUsage(BaseModel):
    """Tokens that the policy took; `cached` of the prompt tokens were found in its prefix cache."""

    prompt: int
    cached: int
    completion: int


class CriticUsage(BaseModel):
    """Tokens that the critic took; `cached` of the prompt tokens were found in its prefix cache."""

    prompt: int
    cached: int


class VisionReport(BaseModel):
    """The reply's `vision`: how the prompt's images and videos were seen."""

    v2pe_delta: float | list[float]  # a list, in the order of the prompt, if the delta changes along it
    highest_position: float  # the highest one in the prompt
    tiles: int  # of all images and frames, with thumbnails
    frames: int  # of all videos


class ScalingUsage(BaseModel):
    """Tokens that each model took. The prompt counts once for every candidate."""

    policy: PolicyUsage
    critic: CriticUsage


class ScalingReport(BaseModel):
    """The reply's `test_time_scaling`."""

    method: str
    selected: int
    critic: str | None
    aggregation: str | None
    seed: int  # the request's, or the one that the server drew; sending it again repeats the candidates
    stopped: str | None
    degraded: str | None
    candidates: list[CandidateReport]
    votes: list[VoteReport]
    usage: ScalingUsage
