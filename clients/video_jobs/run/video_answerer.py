"""Answer items by frames that are taken of their videos once, with the strategy that they ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from clients.sdk.errors import ClientError
from clients.video_jobs.frames.cache import FrameCache
from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.frames.reader import read_facts
from clients.video_jobs.frames.take import Take
from clients.video_jobs.frames.video_frames import FrameSource, VideoFrames
from clients.video_jobs.items.item import Item
from clients.video_jobs.planning.measuring import Render, measured_facts
from clients.video_jobs.planning.plan import plan_question
from clients.video_jobs.questions import Asker, Event, VideoQuestion
from clients.video_jobs.requests.model_facts import ModelFacts
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.strategies.answering import answer, check_strategy

from .answering import AnsweredItem
from .failures import Failure, ItemError, RunEnds, WorkerLost

PICTURE_WIDTH = 192  # pixels of a picture in the report
MOST_PICTURES = 24
STRATEGY = "strategy"
GROWING = ("segments", "search")  # strategies whose requests grow in number with the length of a video
OF_SETTINGS = (
    "delta",
    "num_frames",
    "anchors",
    "max_tokens",
    "segment_seconds",
    "overlap_seconds",
    "scenes",
    "focus",
    "evidence_sets",
)
"""The parameters of an item that are settings of strategies; all others are fields of its chat requests."""


@dataclass(frozen=True)
class AskOptions:
    """How the questions of a job are asked.

    `strategy` and `schema` are those of items that have none, and `fps` frames are taken of each second.
    """

    settings: AskSettings
    strategy: str = "window"
    fps: float = 1.0
    schema: Mapping[str, Any] | None = None

    def question_of(self, item: Item, video: Path) -> tuple[VideoQuestion, AskSettings]:
        """Return an item as a question, and the settings with the item's own parameters.

        Raises ItemError if its parameters are wrong.
        """
        parameters = dict(item.parameters)
        name = str(parameters.pop(STRATEGY, self.strategy))
        own = {key: parameters.pop(key) for key in OF_SETTINGS if key in parameters}
        try:
            check_strategy(name)
            settings = replace(self.settings, fields={**self.settings.fields, **parameters}, **own)
        except (ValueError, TypeError) as error:
            raise ItemError(Failure("manifest", "bad_parameters", f"its parameters: {error}")) from error
        return VideoQuestion(
            video=video,
            question=item.question,
            schema=item.schema if item.schema is not None else self.schema,
            start=item.start,
            end=item.end,
            subtitles=None if item.subtitles is None else Path(item.subtitles),
            strategy=name,
        ), settings

    def as_json(self) -> Mapping[str, Any]:
        """Return what answers depend on, for manifest.json. The model has its own place there."""
        settings = {name: getattr(self.settings, name) for name in (*OF_SETTINGS, "fields")}
        return {"strategy": self.strategy, "fps": self.fps, "schema": self.schema, **settings}

    async def measured_by(self, model: str | None, render: Render) -> "AskOptions":
        """Return the options for a model of a server; one that can't count is taken for a published one."""
        settings = replace(self.settings, model=model)
        try:
            facts = await measured_facts(render, settings)
        except (ClientError, KeyError, TypeError, ValueError):
            facts = ModelFacts()
        return replace(self, settings=replace(settings, facts=facts))

    @property
    def take(self) -> Take:
        """What is taken of videos: frames as large as the model's tile."""
        return Take(fps=self.fps, side=self.settings.facts.side)


@dataclass(frozen=True)
class VideoAnswerer:
    """Answers items by frames of their videos."""

    source: FrameSource
    options: AskOptions

    async def __call__(self, item: Item, video: Path, ask: Asker) -> AnsweredItem:
        """Return the answer to an item. Raises ItemError, WorkerLost, RunEnds, and what `ask` raises."""
        question, settings = self.options.question_of(item, video)
        try:
            async with self.source.open(video) as frames:
                found = await answer(question, frames, ask, settings)
                return AnsweredItem(found, frames.duration, pictures(frames, found.events))
        except VideoError as error:
            raise _failed(error) from error

    async def work_of(self, item: Item, video: Path) -> float | None:
        """Return the tokens that an item's plan says, where they grow with the length of the video."""
        try:
            question, settings = self.options.question_of(item, video)
            if question.strategy not in GROWING:
                return None
            plan = await plan_question(question, await read_facts(video), self.options.take, settings)
            return float(plan.cost.prompt_tokens + plan.cost.completion_tokens)
        except (ItemError, VideoError):
            return None  # the run will say why


@dataclass(frozen=True)
class VideoAnswererOf:
    """Makes the answerer of a run once its model is known; `decodes` videos are decoded at a time."""

    options: AskOptions
    cache: FrameCache
    decodes: int

    async def __call__(self, model: str | None, render: Render) -> VideoAnswerer:
        """Return the answerer for a model of a server."""
        options = await self.options.measured_by(model, render)
        return VideoAnswerer(FrameSource(self.cache, options.take, self.decodes), options)


def check_take(fps: float) -> None:
    """Raise ValueError if so many frames can't be taken of a second."""
    Take(fps=fps)


def pictures(frames: VideoFrames, events: tuple[Event, ...]) -> tuple[tuple[float, bytes], ...]:
    """Return the first frame of each of the first events as a small JPEG, with its time in seconds."""
    height = max(1, round(PICTURE_WIDTH * frames.stored.height / max(1, frames.stored.width)))
    found: dict[float, bytes] = {}
    for event in events[:MOST_PICTURES]:
        number = next((i for i, time in enumerate(frames.times) if event.start <= time <= event.end), None)
        if number is not None and frames.times[number] not in found:
            small = BytesIO()
            with Image.open(BytesIO(frames.jpeg(number))) as image:
                image.resize((PICTURE_WIDTH, height)).save(small, "JPEG", quality=80)
            found[frames.times[number]] = small.getvalue()
    return tuple(found.items())


def _failed(error: VideoError) -> Exception:
    """Return what an error of frames means for the run.

    A decoder that was killed and a cache that has vanished may be there in another attempt. A file that is
    still written needs more time than that. Frames that can't be kept fail for every video.
    """
    if error.stage == "cache" and not error.retryable:
        return RunEnds(str(error))
    kinds = {"cache": "cache_lost", "decode": "worker_lost", "probe": "changed_video"}
    kind = kinds[error.stage] if error.retryable else "bad_video"
    failure = Failure(error.stage, kind, str(error), retryable=error.retryable)
    return WorkerLost(failure) if error.retryable and error.stage != "probe" else ItemError(failure)
