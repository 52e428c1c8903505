"""Which frames of its videos a request takes: the fields are checked, and none is ignored."""

from typing import Any

import pytest

from model.video.frames import FrameRequest
from server.errors import ApiError
from server.protocol.chat_call import parse_call
from server.request_media import VideoOptions
from tests.server.apps import question, settings

FILE = "data:video/mp4;base64,AAAA"
FRAMES = "DATA:video/JPEG;base64,AAAA,AAAA"


def parse(*urls: str, **fields: Any) -> VideoOptions:
    content = [{"type": "video_url", "video_url": {"url": url}} for url in urls]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": "?"}]}]
    return parse_call(question(messages=messages, media_io_kwargs={"video": fields}), settings()).video


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, FrameRequest(32)),
        ({"num_frames": 7}, FrameRequest(7)),
        ({"num_frames": 9000}, FrameRequest(512)),
        ({"num_frames": -1}, FrameRequest(None)),
        ({"fps": 2}, FrameRequest(None, 2)),
        ({"fps": 2, "num_frames": 9}, FrameRequest(9, 2)),
        ({"start": 1, "end": 2.5}, FrameRequest(32, start=1, end=2.5)),
        ({"start": 0, "mode": "keyframe"}, FrameRequest(32, start=0, mode="keyframe")),
        ({"times": [3, 1.5]}, FrameRequest(None, times=(3, 1.5))),
    ],
)
def test_frames_of_a_file(fields: dict[str, Any], expected: FrameRequest):
    assert parse(FILE, **fields).frames == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, FrameRequest(None)),
        ({"fps": 2.5}, FrameRequest(None)),
        ({"num_frames": -1}, FrameRequest(None)),
        ({"num_frames": 1, "fps": 2}, FrameRequest(1)),
        ({"times": [0], "fps": 2}, FrameRequest(None, times=(0,))),
    ],
)
def test_all_extracted_frames_unless_the_request_chooses(fields: dict[str, Any], expected: FrameRequest):
    options = parse(FRAMES, **fields)
    assert options.extracted == expected and options.timing.fps == fields.get("fps")


def test_what_vllm_takes_of_extracted_frames():
    fields = {"fps": 2, "frames_indices": [0, 30], "total_num_frames": 60, "duration": 30.0}
    timing = parse(FRAMES, **fields, do_sample_frames=False, timestamps=True).timing
    assert (timing.fps, timing.frames_indices) == (2, (0, 30))
    assert (timing.total_num_frames, timing.duration) == (60, 30)


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (FILE, {"num_frames": 0}, "num_frames", "at least 1, or -1"),
    (FILE, {"num_frames": -2}, "num_frames", "greater than or equal to -1"),
    (FILE, {"start": -1}, "start", "greater than or equal to 0"),
    (FILE, {"start": 3, "end": 3}, "end", "end must be after start, which is 3"),
    (FILE, {"end": 0}, "end", "after start"),
    (FILE, {"start": "1"}, "start", "number"),
    (FILE, {"times": []}, "times", "at least 1"),
    (FILE, {"times": [1, -1]}, "times[1]", "greater than or equal to 0"),
    (FILE, {"times": [1], "num_frames": 2}, "times", "can't be combined with num_frames"),
    (FILE, {"times": [1], "start": 2}, "times", "can't be combined with start"),
    (FILE, {"times": [1], "fps": 2}, "times", "can't be combined with fps"),
    (FILE, {"times": [0.5] * 513}, "times", "513 numbers, and 512 frames"),
    (FILE, {"frames_indices": [0]}, "frames_indices", "the request has none"),
    (FILE, {"duration": 3}, "duration", "the request has none"),
    (FILE, {"total_num_frames": 3}, "total_num_frames", "the request has none"),
    (FRAMES, {"frames_indices": [0, -1]}, "frames_indices[1]", "greater than or equal to 0"),
    (FRAMES, {"duration": 0}, "duration", "greater than 0"),
    (FRAMES, {"do_sample_frames": True}, "do_sample_frames", "False"),
    (FRAMES, {"timestamps": True}, "timestamps", "Send fps or duration"),
    (FRAMES, {"video_backend": "torchcodec"}, "video_backend", "not permitted"),
]


@pytest.mark.parametrize(("url", "fields", "param", "message"), REFUSED)
def test_a_bad_field_is_refused_by_its_name(url: str, fields: dict[str, Any], param: str, message: str):
    with pytest.raises(ApiError, match=message) as refused:
        parse(url, **fields)
    assert (refused.value.status, refused.value.param) == (400, f"media_io_kwargs.video.{param}")
