"""Training samples look as the requests of the clients do, and their JSON says what the frames show."""

import json
from pathlib import Path

import numpy as np
import pytest

import model
from clients.video_jobs.requests.time_tags import tag_seconds
from clients.video_jobs.strategies.prompts import notes_text
from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.train.nano.experiments.video_notes.program import LESSONS, lesson_at, train_notes
from ttscaling.train.nano.experiments.video_notes.samples import TEXT, notes_sample, random_part
from ttscaling.train.nano.network.architecture import TOKENS_PER_TILE, load_checkpoint
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import load_tokenizer

POLICY = Path(model.__file__).parent / "nano" / "policy"


def test_the_text_is_that_of_the_clients():
    assert TEXT.format(start="01:00", end="01:00:12") == notes_text(60, 3612, None, "")


@pytest.mark.parametrize("frames", [4, 12])
def test_the_notes_name_frames_that_differ_from_the_rest(frames: int):
    """The largest change of the picture between two frames lies where an event begins or ends."""
    rng = np.random.default_rng(frames)
    noted = 0
    for _ in range(30):
        part = random_part(rng, digit_pool("train"), frames, 3)
        shown = set()
        for row in json.loads(part.notes)["events"]:
            start, end = (tag_seconds(row[name]) for name in ("start", "end"))
            assert start is not None and end is not None
            assert part.times[0] <= start <= end <= part.times[-1]
            shown |= set(range(start, end + 1))
            noted += 1
        # A digit is darker than the paper and, in at most a ninth of the picture, thinner than the ball.
        dark = [int((tile < 60).sum()) for tile in part.tiles_NHWC]
        for time, count in zip(part.times, dark, strict=True):
            assert (count > 0) == (int(time) in shown), part.notes
    assert noted > 20


def test_a_sample_holds_each_frame_behind_its_time():
    tokenizer = load_tokenizer(POLICY)
    encoder = NanoEncoder(tokenizer)
    part = random_part(np.random.default_rng(2), digit_pool("train"), 4, 1)
    sample = notes_sample(encoder, part, delta=0.25, brief=False)
    assert sample.num_tiles == 4
    assert sample.deltas == (0.25,) * 4
    assert int((sample.ids_T == encoder.image_token).sum()) == 4 * TOKENS_PER_TILE
    text = tokenizer.decode(sample.ids_T)
    assert f"Frame1 ({int(part.times[0]) // 60:02d}:{int(part.times[0]) % 60:02d}): <img>" in text
    answer = tokenizer.decode(sample.target_T[sample.weight_T > 0])
    assert answer == f"{part.notes}<|im_end|>"
    prompt = notes_sample(encoder, part, delta=0.25, brief=False, answered=False)
    assert list(prompt.ids_T) == list(sample.ids_T[: len(prompt.ids_T)])
    assert not prompt.weight_T.any()


def test_lessons_grow():
    assert lesson_at(0.0) is LESSONS[0]
    assert lesson_at(1.0) is LESSONS[-1]
    assert [lesson.frames for lesson in LESSONS] == sorted(lesson.frames for lesson in LESSONS)


def test_trains_a_checkpoint(tmp_path: Path):
    train_notes(tmp_path, steps=2, seed=1)
    before, after = (load_checkpoint(folder).state_dict() for folder in (POLICY, tmp_path / "policy"))
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
