"""What an error of frames means for an item and for the run, and what an item asks by itself."""

import pickle
from pathlib import Path

import pytest

from clients.video_jobs.frames.cache import FrameCache
from clients.video_jobs.frames.errors import Stage, VideoError
from clients.video_jobs.frames.take import Take
from clients.video_jobs.frames.video_frames import FrameSource
from clients.video_jobs.items.item import Item
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.run.failures import ItemError, RunEnds, WorkerLost
from clients.video_jobs.run.video_answerer import AskOptions, VideoAnswerer, VideoAnswererOf

ITEM = Item("a", "a.mp4", "Who?")


class FailingSource(FrameSource):
    """A source of frames that meets an error with every video."""

    error = VideoError("broken", "probe")

    def open(self, video, **_):
        raise self.error


@pytest.mark.parametrize(
    ("stage", "retryable", "kind", "meaning"),
    [
        ("probe", False, "bad_video", ItemError),
        ("decode", False, "bad_video", ItemError),
        ("probe", True, "changed_video", ItemError),
        ("decode", True, "worker_lost", WorkerLost),
        ("cache", True, "cache_lost", WorkerLost),
        ("cache", False, None, RunEnds),
    ],
)
async def test_what_an_error_of_frames_means(
    tmp_path: Path, stage: Stage, retryable: bool, kind: str | None, meaning: type[Exception]
) -> None:
    source = FailingSource(FrameCache(tmp_path), Take())
    source.error = VideoError("broken", stage, retryable=retryable)

    async def ask(request):
        raise AssertionError("nothing is paid for")

    with pytest.raises(meaning) as failure:
        await VideoAnswerer(source, AskOptions(AskSettings()))(ITEM, Path("a.mp4"), ask)
    assert type(failure.value) is meaning
    if isinstance(failure.value, ItemError):
        assert (failure.value.failure.kind, failure.value.failure.stage) == (kind, stage)


def test_an_items_own_parameters_go_before_those_of_the_job() -> None:
    options = AskOptions(AskSettings(fields={"temperature": 0}), schema={"type": "object"})
    item = Item("a", "a.mp4", "Who?", parameters={"strategy": "search", "num_frames": 30, "top_p": 0.5})
    question, settings = options.question_of(item, Path("a.mp4"))
    assert (question.strategy, question.schema) == ("search", {"type": "object"})
    assert (settings.num_frames, settings.fields) == (30, {"temperature": 0, "top_p": 0.5})
    with pytest.raises(ItemError, match="at least 1 frame"):
        options.question_of(Item("a", "a.mp4", "Who?", parameters={"num_frames": 0}), Path("a.mp4"))


def test_what_makes_an_answerer_goes_to_other_machines(tmp_path: Path) -> None:
    made = VideoAnswererOf(AskOptions(AskSettings(fields={"temperature": 0})), FrameCache(tmp_path), 2)
    sent = pickle.loads(pickle.dumps(made))
    assert (sent.options, sent.decodes) == (made.options, made.decodes)
