"""How questions on videos are asked: what all strategies share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .model_facts import ModelFacts

Delta = float | Literal["auto"] | None


@dataclass(frozen=True)
class AskSettings:
    """The settings of a job. Raises ValueError for a value out of range.

    `fields` are further fields of the chat requests for answers, such as temperature or best_of. `delta` is
    V2PE's, where "auto" is chosen from `facts` once for each number of frames, and None leaves it to the
    server. `num_frames` are in the request that gives the answer, and `anchors` of them, at most half, are
    spread evenly over the video, whatever a strategy chooses. Segments are `segment_seconds` long and overlap
    by `overlap_seconds`, at most a third of that; with `scenes` they are cut at changes of the shot. `focus`
    says what their notes are to be about. `parallel` is how many requests of one question wait for their
    replies at a time. Evidence takes `evidence_sets` different sets of frames.
    """

    model: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    facts: ModelFacts = field(default_factory=ModelFacts)
    delta: Delta = "auto"
    num_frames: int = 64
    anchors: int = 24
    max_tokens: int = 1024
    segment_seconds: float = 45.0
    overlap_seconds: float = 6.0
    scenes: bool = False
    focus: str | None = None
    parallel: int = 4
    evidence_sets: int = 3

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ValueError(f"a request needs at least 1 frame, not {self.num_frames}")
        if not 2 <= self.segment_seconds <= 600:
            raise ValueError(f"a segment has from 2 to 600 seconds, not {self.segment_seconds:g}")
        if self.anchors < 0 or self.overlap_seconds < 0:
            raise ValueError("anchors and the overlap of segments can't be negative")
        if self.parallel < 1 or self.evidence_sets < 2:
            raise ValueError("there must be at least 1 request at a time, and 2 sets of evidence")

    @property
    def anchor_count(self) -> int:
        """The number of frames that are spread evenly over the video, whatever a strategy chooses."""
        return min(self.anchors, self.num_frames // 2)

    @property
    def overlap(self) -> float:
        """The seconds by which segments overlap."""
        return min(self.overlap_seconds, self.segment_seconds / 3)
