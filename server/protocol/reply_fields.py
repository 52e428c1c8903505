"""TODO: what this file is about."""

from pydantic import BaseModel


class CandidateReport(BaseModel):
    """One candidate, in the reply's `test_time_scaling.candidates`."""

    index: int
    score: float | None
    step_scores: list[float] | None
    finish_reason: str | None
    completion_tokens: int
    text: str | None = None
    steps: list[str] | None = None


class PolicyUsage(BaseModel):
    prompt: int
    cached: int
    completion: int


class CriticUsage(BaseModel):
    prompt: int
    cached: int


class VisionReport(BaseModel):
    """The reply's `vision`."""

    v2pe_delta: float | list[float]  # a list, in the order of the prompt, where it changes on the way
    highest_position: float  # of the prompt
    tiles: int  # of images and frames, thumbnails included
    frames: int


class ScalingUsage(BaseModel):
    """Tokens through each model, every candidate's prompt counted; `cached` of them were found in a prefix
    cache.
    """

    policy: PolicyUsage
    critic: CriticUsage


class ScalingReport(BaseModel):
    """The reply's `test_time_scaling`."""

    method: str
    selected: int
    critic: str | None
    aggregation: str | None
    seed: int  # of the request, or the one chosen for it: sending it again repeats the candidates
    stopped: str | None
    degraded: str | None
    candidates: list[CandidateReport]
    usage: ScalingUsage
