"""Make training samples of nano that note which digits a part of a video shows, and when.

A sample looks as the server renders a request of `clients/video_jobs/strategies/notes.py`: a line for each
frame with its time, then the text, and the events in JSON without white space.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from model.image_tokens import IMAGE_CONTEXT, IMAGE_END, IMAGE_START, frame_labels
from ttscaling.nano_tasks.digit_videos import (
    LEAST_GAP,
    LONGEST,
    SHORTEST,
    DigitEvent,
    digit_video,
    picture_at,
)
from ttscaling.nano_tasks.digits import DigitPool
from ttscaling.train.nano.network.architecture import TOKENS_PER_TILE
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.samples.sample import Sample

HOUR = 3600  # seconds, within which parts begin
EMPTY = 0.25  # the share of parts without events
QUALITY = 90  # of the JPEGs that clients send
BRIEF = "Which digits?"  # in place of the long text, at the beginning of the training
TEXT = (
    "These frames show a video from {start} to {end}. List all events that can be seen in them, in the order "
    "of time. For each event give `start`, the time in front of the first frame that shows it, `end`, the "
    "time in front of the last frame that shows it, and `text`, which describes it in a few words. If "
    "nothing happens, the list is empty."
)
"""The text of a request for notes; a test compares it with that of the clients."""


@dataclass(frozen=True)
class Part:
    """A part of a video at one frame a second: tiles (F, side, side, 3), times (F,), events in JSON."""

    tiles_NHWC: np.ndarray
    times: tuple[float, ...]
    notes: str


def random_part(rng: np.random.Generator, pool: DigitPool, frames: int, most: int) -> Part:
    """Return a random part of a video with `frames` frames and at most `most` events."""
    count = 0 if rng.random() < EMPTY else int(rng.integers(1, most + 1))
    events: list[DigitEvent] = []
    time = float(rng.uniform(-SHORTEST, max(1.0, frames - LONGEST + 1)))
    while len(events) < count and time < frames - 0.5:
        end = time + float(rng.uniform(SHORTEST, LONGEST))
        if end > 0.5:
            events.append(DigitEvent(time, end, int(rng.integers(10)), int(rng.integers(9))))
        time = end + LEAST_GAP + float(rng.uniform(0, 6))
    video = digit_video(rng, pool, frames, events)
    start = int(rng.integers(HOUR))
    rows = []
    for event in events:
        shown = [frame for frame in range(frames) if event.start <= frame < event.end]
        if shown:
            rows.append(
                {
                    "start": _tag(start + shown[0]),
                    "end": _tag(start + shown[-1]),
                    "text": f"digit {event.digit}",
                }
            )
    return Part(
        tiles_NHWC=np.stack([_as_sent(picture_at(video, float(frame))) for frame in range(frames)]),
        times=tuple(float(start + frame) for frame in range(frames)),
        notes=json.dumps({"events": rows}, separators=(",", ":")),
    )


def notes_sample(
    encoder: NanoEncoder, part: Part, *, delta: float, brief: bool, answered: bool = True
) -> Sample:
    """Return the request for notes on a part with its answer, or without it as a prompt.

    The loss is on the answer. All frames have one delta.
    """
    text = BRIEF if brief else TEXT.format(start=_tag(part.times[0]), end=_tag(part.times[-1] + 1))
    frame = encoder.ids(IMAGE_START + IMAGE_CONTEXT * TOKENS_PER_TILE + IMAGE_END)
    context = [*encoder.ids("<|im_start|>user\n")]
    for label in frame_labels(len(part.times), part.times):
        context += [*encoder.ids(label), *frame, *encoder.ids("\n")]
    context += [*encoder.ids(text), *encoder.ids("<|im_end|>\n<|im_start|>assistant\n")]
    reply: Sequence[int] = (*encoder.ids(part.notes), encoder.end_token) if answered else ()
    sample = encoder.sample(context, reply, part.tiles_NHWC, delta=delta)
    return replace(sample, deltas=(delta,) * len(part.times))


def _tag(seconds: float) -> str:
    """Return a time as it stands in front of a frame."""
    return frame_labels(1, [seconds])[0].partition("(")[2].partition(")")[0]


def _as_sent(picture: Image.Image) -> np.ndarray:
    """Return the pixels of a picture that went through a JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(buffer).convert("RGB"))
