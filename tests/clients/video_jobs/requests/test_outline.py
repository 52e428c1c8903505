"""A request holds the frames with their times before the text, and its key says what work it is."""

from dataclasses import replace
from pathlib import Path

from clients.video_jobs.requests.model_facts import ModelFacts
from clients.video_jobs.requests.outline import Outline, paid_request
from clients.video_jobs.requests.settings import AskSettings
from tests.clients.video_jobs.planted import jpegs_of, planted_frames, times_of, write_planted

OUTLINE = Outline("answer", "answer-1", (1, 5, 9), "What happens?", 64, {"temperature": 0})
SETTINGS = AskSettings(model="nano")


async def test_the_frames_stand_before_the_text(tmp_path: Path):
    video = write_planted(tmp_path / "clip.mp4", 10, [])
    async with planted_frames(video, tmp_path / "cache") as frames:
        request = paid_request(OUTLINE, frames, SETTINGS)
        assert jpegs_of(request) == [frames.jpeg(number) for number in OUTLINE.frames]
    assert [part["type"] for part in request.body["messages"][0]["content"]] == ["video_url", "text"]
    assert times_of(request) == [1.0, 5.0, 9.0]
    assert {name: request.body[name] for name in ("model", "max_tokens", "temperature", "v2pe_delta")} == {
        "model": "nano",
        "max_tokens": 64,
        "temperature": 0,
        "v2pe_delta": "auto",
    }
    assert request.path == "v1/chat/completions"


async def test_the_key_changes_with_the_work_alone(tmp_path: Path):
    video = write_planted(tmp_path / "clip.mp4", 10, [])
    other_video = write_planted(tmp_path / "other.mp4", 11, [])
    keys = []
    async with planted_frames(video, tmp_path / "cache") as frames:
        keys.append(paid_request(OUTLINE, frames, SETTINGS).key)
        again = replace(OUTLINE, purpose="another name")
        assert paid_request(again, frames, SETTINGS).key == keys[0]
        for outline in (
            replace(OUTLINE, frames=(1, 5, 8)),
            replace(OUTLINE, text="What happened?"),
            replace(OUTLINE, prompt="answer-2"),
            replace(OUTLINE, max_tokens=65),
            replace(OUTLINE, fields={"temperature": 1}),
            replace(OUTLINE, answers=("A",)),
        ):
            keys.append(paid_request(outline, frames, SETTINGS).key)
        for settings in (replace(SETTINGS, model="other"), replace(SETTINGS, delta=0.5)):
            keys.append(paid_request(OUTLINE, frames, settings).key)
    async with planted_frames(other_video, tmp_path / "cache") as frames:
        keys.append(paid_request(OUTLINE, frames, SETTINGS).key)
    async with planted_frames(video, tmp_path / "cache", fps=2.0) as frames:
        keys.append(paid_request(OUTLINE, frames, SETTINGS).key)
    assert len(set(keys)) == len(keys)


async def test_a_known_window_makes_the_delta_a_number(tmp_path: Path):
    video = write_planted(tmp_path / "clip.mp4", 10, [])
    settings = replace(SETTINGS, facts=ModelFacts(window=900, is_measured=True))
    async with planted_frames(video, tmp_path / "cache") as frames:
        assert paid_request(OUTLINE, frames, settings).body["v2pe_delta"] == 0.5
        assert "v2pe_delta" not in paid_request(OUTLINE, frames, replace(settings, delta=None)).body
        text_only = paid_request(replace(OUTLINE, frames=()), frames, settings)
    assert "v2pe_delta" not in text_only.body
    assert "media_io_kwargs" not in text_only.body
