import base64
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttscaling.asking.user_message import user_message
from ttscaling.console import CommandError
from ttscaling.evaluation.question_sets import heldout_questions, load_questions, read_questions, short_name
from ttscaling.records.bad_records import BadRecords, RecordError


def pixels(part: dict) -> Image.Image:
    head, _, content = part["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    return Image.open(BytesIO(base64.b64decode(content)))


def test_images_come_before_the_text_unless_it_names_their_slots() -> None:
    red, blue = (Image.new("RGB", (4, 4), color) for color in ("red", "blue"))
    front = user_message("Which?", [red, blue])["content"]
    assert [part["type"] for part in front] == ["image_url", "image_url", "text"]
    with_slots = user_message("Is <image>\nor <image> darker?", [red, blue])["content"]
    assert [part["type"] for part in with_slots] == ["text", "image_url", "text", "image_url", "text"]
    assert [part["text"] for part in with_slots[::2]] == ["Is ", "or ", " darker?"]
    assert pixels(with_slots[1]).getpixel((0, 0)) == (255, 0, 0)
    assert pixels(with_slots[3]).getpixel((0, 0)) == (0, 0, 255)
    assert user_message("Why?", [])["content"] == [{"type": "text", "text": "Why?"}]


def test_slots_and_images_must_match() -> None:
    with pytest.raises(RecordError, match="1 <image> for 2 images"):
        user_message("<image>?", [Image.new("RGB", (4, 4))] * 2)


def test_a_video_comes_before_the_text(tmp_path: Path) -> None:
    (tmp_path / "clip.webm").write_bytes(b"moving")
    (tmp_path / "q.jsonl").write_text(
        json.dumps({"question": "<video>\nWhen?", "answer": "now", "video": "clip.webm"})
    )
    (question,) = read_questions(tmp_path / "q.jsonl", tmp_path, BadRecords(allowed=0))
    video, text = question.message["content"]
    assert video["video_url"]["url"] == "data:video/webm;base64," + base64.b64encode(b"moving").decode()
    assert text == {"type": "text", "text": "When?"}


def test_held_out_questions_repeat_with_their_seed() -> None:
    first, again, other = (list(heldout_questions(6, seed)) for seed in (1, 1, 2))
    assert [q.message for q in first] == [q.message for q in again] != [q.message for q in other]
    assert len({question.kind for question in first}) == 6


def test_questions_of_a_file(tmp_path: Path) -> None:
    """Good records become questions; bad records are named by file and line."""
    Image.new("RGB", (4, 4)).save(tmp_path / "sheet.png")
    rows = [
        {"question": "How many?", "answer": 3, "image": "sheet.png", "kind": "count"},
        {"question": "How many?", "answer": "3", "image": "gone.png"},
        {"question": "<image> or <image>?", "answer": "3", "image": "sheet.png"},
        {"question": "How many?", "answer": True},
        {"question": "Why?", "answer": "because"},
        {
            "conversations": [
                {"from": "human", "value": "5 - 1?"},
                {"from": "gpt", "value": "Final answer: 4"},
            ]
        },
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad_records = BadRecords(allowed=0.6, tell=lambda problem: None)
    counted, plain, chat = read_questions(path, tmp_path, bad_records)
    assert (counted.answer, counted.kind) == ("3", "count")
    assert pixels(counted.message["content"][0]).size == (4, 4)
    assert (plain.text, plain.answer, plain.images, plain.kind) == ("Why?", "because", (), "all")
    assert (chat.text, chat.answer) == ("5 - 1?", "4")
    for line, reason in ((2, "gone.png"), (3, "2 <image> for 1"), (4, "'answer'")):
        assert any(f"questions.jsonl:{line}" in text and reason in text for text in bad_records.examples)


def write_numbers(path: Path, count: int) -> Path:
    rows = [{"question": f"{number}?", "answer": str(number)} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_questions_of_a_file_are_a_random_sample_by_seed(tmp_path: Path) -> None:
    """A larger sample holds the smaller one, and what is skipped is in no later sample."""
    path = write_numbers(tmp_path / "numbers.jsonl", 400)

    def drawn(n: int, seed: int, skip: int = 0) -> list[int]:
        return [int(question.answer) for question in load_questions(path, None, n, seed, skip=skip)[1]]

    sample = drawn(100, 1)
    assert len(set(sample)) == 100 and drawn(100, 1) == sample == drawn(150, 1)[:100]
    assert drawn(100, 2) != sample
    assert abs(float(np.mean(sample)) - 199.5) < 40, "a sample of a sorted file reaches over all of it"
    rest = drawn(1000, 1, skip=100)
    assert sorted(sample + rest) == list(range(400))


def test_the_source_tells_samples_apart(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "numbers.jsonl", 9)
    sources = [load_questions(path, None, 3, *how)[0] for how in ((1,), (2,))]
    sources.append(load_questions(path, None, 3, 1, skip=3)[0])
    sources.append(load_questions(write_numbers(path, 10), None, 3, 1)[0])
    assert len(set(sources)) == 4 and all(short_name(source) == "numbers.jsonl" for source in sources)
    assert short_name(load_questions(None, None, 1, 5)[0]) == "nano held-out"


def test_a_file_whose_questions_are_used_up_is_one_line(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "numbers.jsonl", 9)
    with pytest.raises(CommandError, match=r"holds 9 questions, and none is left.*lower --n-questions"):
        load_questions(path, None, 3, 1, skip=9)
    path.write_text("")
    with pytest.raises(CommandError, match="holds no questions"):
        load_questions(path, None, 3, 1)


def test_nano_questions_are_skipped_too() -> None:
    all_six, last_two = (load_questions(None, None, n, 3, skip=skip)[1] for n, skip in ((6, 0), (2, 4)))
    assert [question.message for question in all_six[4:]] == [question.message for question in last_two]
