"""Subtitles are read as they are found in the wild, and those of a request's time go into it."""

from pathlib import Path

import pytest

from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.requests.subtitles import (
    MOST_CHARACTERS,
    Cue,
    read_cues,
    subtitle_text,
    subtitles_beside,
)

SRT = (
    "1\r\n00:00:01,500 --> 00:00:03,000\r\n<i>Hello</i>\r\nthere\r\n\r\n"
    "2\r\n01:00:00,000 --> 01:00:01,000 X1:40 X2:600\r\n{\\an8}Über &amp; out\r\n"
)
VTT = (
    "WEBVTT - a title\n\nNOTE nothing\n\nintro\n00:01.500 --> 00:03.000 align:start\n<v Anna>Hello there\n\n"
    "00:00:09.000 --> 00:00:05.000\nbackwards\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_reads_srt_in_usual_encodings(encoding: str, tmp_path: Path):
    path = tmp_path / "a.srt"
    path.write_bytes(SRT.encode(encoding))
    assert read_cues(path) == (Cue(1.5, 3.0, "Hello there"), Cue(3600.0, 3601.0, "Über & out"))


def test_reads_webvtt(tmp_path: Path):
    path = tmp_path / "a.vtt"
    path.write_text(VTT)
    assert read_cues(path) == (Cue(1.5, 3.0, "Hello there"),)


def test_a_file_without_subtitles_is_refused(tmp_path: Path):
    path = tmp_path / "a.srt"
    path.write_text("nothing")
    with pytest.raises(VideoError, match="leave them out"):
        read_cues(path)
    with pytest.raises(VideoError, match="No such file"):
        read_cues(tmp_path / "b.srt")


def test_finds_the_file_beside_the_video(tmp_path: Path):
    assert subtitles_beside(tmp_path / "clip.mp4") is None
    (tmp_path / "clip.vtt").touch()
    assert subtitles_beside(tmp_path / "clip.mp4") == tmp_path / "clip.vtt"


def test_a_request_gets_the_subtitles_of_its_time():
    cues = [Cue(second, second + 1, f"word {second}") for second in range(100)]
    assert subtitle_text(cues, 10, 12, []) == "Subtitles:\n00:10 word 10\n00:11 word 11\n\n"
    assert subtitle_text(cues, 200, 300, []) == ""


def test_too_many_subtitles_are_those_of_the_frames():
    cues = [Cue(second, second + 1, "x" * 100) for second in range(MOST_CHARACTERS // 50)]
    assert subtitle_text(cues, 0, 1e6, [3.5, 70.0]).count("\n") == 2 + 2
