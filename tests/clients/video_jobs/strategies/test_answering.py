"""Each strategy answers from what its frames show, and says what it rests on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from clients.sdk.errors import ApiError, ClientError
from clients.video_jobs.questions import Event, VideoAnswer, VideoQuestion
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.strategies.answering import STRATEGIES, answer
from tests.clients.video_jobs.planted import (
    SeeingModel,
    completion,
    one_token,
    planted_frames,
    text_of,
    times_of,
    write_planted,
)

SECONDS = 600
EVENTS = (
    Event(43.0, 46.0, "red"),  # across the edge of two segments
    Event(100.0, 102.0, "green"),
    Event(101.75 + 1, 105.0, "white"),
    Event(300.25, 302.25, "blue"),
    Event(300.25 + 120, 500.0, "yellow"),  # longer than a segment
    Event(598.0, 600.0, "red"),
)
SETTINGS = AskSettings(num_frames=16, anchors=8, segment_seconds=40, overlap_seconds=6)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted") / "planted.mp4", SECONDS, EVENTS)


async def ask_about(
    path: Path, model: SeeingModel, question: str, strategy: str, settings: AskSettings = SETTINGS, **part
) -> VideoAnswer:
    async with planted_frames(path, path.parent / "cache") as frames:
        return await answer(VideoQuestion(path, question, strategy=strategy, **part), frames, model, settings)


async def test_a_window_is_one_request_with_uniform_frames_and_true_times(planted: Path):
    model = SeeingModel()
    found = await ask_about(planted, model, "Which colours are shown?", "window")
    (request,) = model.requests
    assert times_of(request) == pytest.approx([18.75 + 37.5 * n for n in range(16)], abs=1)
    assert list(found.frames) == times_of(request)
    assert text_of(request) == "Which colours are shown?"
    assert request.body["media_io_kwargs"]["video"]["duration"] == SECONDS
    assert request.body["v2pe_delta"] == "auto"
    assert found.answer == "It shows yellow."  # 37 s lie between two frames
    assert (found.strategy, found.delta, found.usage["requests"]) == ("window", 0.25, 1)
    assert "default" in found.reason


async def test_notes_find_every_event_once_with_its_times(planted: Path):
    model = SeeingModel()
    found = await ask_about(planted, model, "Which colours are shown?", "segments")
    assert [event.text for event in found.events] == [event.text for event in EVENTS]
    for event, truth in zip(found.events, EVENTS, strict=True):
        assert event.start == pytest.approx(truth.start, abs=1.0)
        assert event.end == pytest.approx(truth.end, abs=1.0)
    assert found.answer == "It shows red, green, blue, yellow, white."
    assert found.evidence["unread_segments"] == []
    assert found.usage["requests"] == len(model.requests) == found.evidence["segments"] + 1
    # The last request has the anchors and frames of the events, in the order of time.
    assert list(found.frames) == sorted(found.frames)
    assert len(found.frames) == 14
    for event in EVENTS:
        assert any(event.start <= time < event.end for time in found.frames), event


async def test_notes_serve_further_questions(planted: Path):
    """The requests for notes don't depend on the question, so their keys are known the second time."""
    first, second = SeeingModel(), SeeingModel()
    await ask_about(planted, first, "Which colours are shown?", "segments")
    await ask_about(planted, second, "When is it red?", "segments")
    keys = [[request.key for request in model.requests] for model in (first, second)]
    assert keys[0][:-1] == keys[1][:-1]
    assert keys[0][-1] != keys[1][-1]
    assert len(set(keys[0])) == len(keys[0])


async def test_notes_that_cannot_be_read_are_no_silent_gap(planted: Path):
    cut_off = {"segment 1": completion('{"events":[{"start":"00:40","en'), "segment 2": completion(" ")}
    found = await ask_about(planted, SeeingModel(cut_off), "Which colours are shown?", "segments")
    assert [round(start) for start, _ in found.evidence["unread_segments"]] == [33, 66]
    assert [event.text for event in found.events] == [event.text for event in EVENTS[1:]]


async def test_without_any_notes_uniform_frames_answer(planted: Path):
    model = SeeingModel({f"segment {number}": completion("no JSON") for number in range(99)})
    found = await ask_about(planted, model, "Which colours are shown?", "segments")
    assert found.strategy == "window"
    assert "notes" in found.reason
    assert found.usage["requests"] == len(model.requests)


async def test_a_question_about_a_part_looks_at_this_part_only(planted: Path):
    for strategy in STRATEGIES:
        model = SeeingModel()
        found = await ask_about(planted, model, "Is it blue?", strategy, start=290, end=310)
        times = [
            time for request in model.requests if request.purpose != "route" for time in times_of(request)
        ]
        assert min(times) >= 290, strategy
        assert max(times) < 310, strategy
        assert "blue" in found.answer, strategy


async def test_search_looks_where_the_model_says_yes(planted: Path):
    model = SeeingModel()
    settings = AskSettings(num_frames=24, anchors=8, segment_seconds=10, overlap_seconds=2)
    found = await ask_about(planted, model, "Is it blue?", "search", settings)
    assert found.strategy == "search"
    assert any(300 <= time < 303 for time in found.frames)
    assert len(found.frames) == 24
    anchors = {round(time) for time in found.frames}
    assert anchors >= {37, 112, 187, 262, 337, 412, 487, 562}
    assert "blue" in found.answer


@pytest.mark.parametrize(
    "replies, part",
    [
        ({"route": one_token(0.2)}, "whole video"),
        ({f"score {number}": one_token(0.5) for number in range(99)}, "don't tell"),
        ({"score 3": completion("yes")}, "don't tell"),
    ],
)
async def test_search_falls_back_to_uniform_frames(replies: dict, part: str, planted: Path):
    model = SeeingModel(replies)
    found = await ask_about(planted, model, "Is it blue?", "search")
    assert found.strategy == "window"
    assert part in found.reason
    assert found.usage["requests"] == len(model.requests)
    assert list(found.frames) == times_of(model.requests[-1])


async def test_evidence_differs_between_answers_and_the_critic_chooses(planted: Path):
    model = SeeingModel()
    settings = AskSettings(num_frames=120, anchors=8, evidence_sets=3)
    found = await ask_about(planted, model, "Which colours are shown?", "evidence", settings)
    times = [tuple(times_of(request)) for request in model.requests[:-1]]
    assert len(set(times)) == len(times) == 3
    critic = model.requests[-1]
    assert critic.path == "v1/critic/score"
    assert "max_tokens" not in critic.body and "model" not in critic.body
    assert found.evidence["answers"] == critic.body["answers"]
    assert found.answer == max(critic.body["answers"], key=len)  # which this critic likes best
    assert list(found.frames) == list(times[critic.body["answers"].index(found.answer)])


async def test_without_a_critic_the_most_frequent_answer_is_taken(planted: Path):
    class NoCritic(SeeingModel):
        async def __call__(self, request):
            if request.path == "v1/critic/score":
                raise ApiError(400, message="there is no critic", type=None, param=None, code=None)
            return await super().__call__(request)

    model = NoCritic({"answer 0": completion("A"), "answer 1": completion("B"), "answer 2": completion("B")})
    found = await ask_about(planted, model, "Which?", "evidence")
    assert found.answer == "B"
    assert "there is no critic" in found.reason


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_empty_answer_is_an_error(strategy: str, planted: Path):
    empty = {purpose: completion("") for purpose in ("answer", "answer 0", "answer 1", "answer 2")}
    with pytest.raises(ClientError, match="empty"):
        await ask_about(planted, SeeingModel(empty), "Which?", strategy)


async def test_the_first_failure_ends_a_question(planted: Path):
    class Failing(SeeingModel):
        async def __call__(self, request):
            if request.purpose == "segment 2":
                raise ApiError(400, message="refused", type=None, param=None, code=None)
            return await super().__call__(request)

    model = Failing()
    with pytest.raises(ApiError, match="refused"):
        await ask_about(planted, model, "Which?", "segments")
    assert len(model.requests) < 15


async def test_a_schema_goes_with_the_answer(planted: Path):
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}}
    model = SeeingModel()
    await ask_about(planted, model, "Which?", "segments", schema=schema)
    formats = [request.body["response_format"]["json_schema"]["schema"] for request in model.requests]
    assert formats[-1] == schema
    tags: Sequence[str] = formats[0]["properties"]["events"]["items"]["properties"]["start"]["enum"]
    assert tags[:2] == ["00:00", "00:01"]


async def test_an_unknown_strategy_is_refused(planted: Path):
    with pytest.raises(ValueError, match="take one of window"):
        await ask_about(planted, SeeingModel(), "Which?", "best")


async def test_segments_end_at_changes_of_the_shot(planted: Path):
    model = SeeingModel()
    scenes = replace(SETTINGS, scenes=True, overlap_seconds=0.0)
    found = await ask_about(planted, model, "Which colours are shown?", "segments", scenes)
    starts = [times_of(request)[0] for request in model.requests[:-1]]
    assert {43.0, 100.0, 421.0, 500.0} <= set(starts)
    assert [event.text for event in found.events] == [event.text for event in EVENTS]
    assert [(event.start, event.end) for event in found.events][4] == (421.0, 500.0)


async def test_subtitles_beside_the_video_go_in(planted: Path):
    beside = planted.with_suffix(".srt")
    beside.write_text("1\n00:05:00,500 --> 00:05:02,000\nA blue flash!\n")
    try:
        model = SeeingModel()
        await ask_about(planted, model, "Is it blue?", "segments")
        with_words = [
            request.purpose for request in model.requests if "05:00 A blue flash!" in text_of(request)
        ]
        assert with_words == ["segment 8", "segment 9", "answer"]
        assert text_of(model.requests[-1]).endswith("\n\nIs it blue?")
    finally:
        beside.unlink()
