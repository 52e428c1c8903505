"""`internvl3 ask` sends its options as fields, and prints answers, candidates and errors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.clients.chat_server import Reply, chat_server, completion, event_stream, scaling
from tests.clients.test_cli import run
from tests.terminal import unwrapped

WINNER = "3 + 4 = 7.\n\nFinal answer: 7"
CHOSEN = completion(WINNER, test_time_scaling=scaling(("3 + 4 = 8.", 0.25), (WINNER, 0.875), selected=1))


class Server:
    """Answers every question with CHOSEN, as a stream if the request says so, and keeps the requests."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    def reply(self, body: dict[str, Any]) -> Reply:
        self.bodies.append(body)
        return (
            event_stream(CHOSEN, comments=("candidate 1/2 finished",))
            if body.get("stream")
            else Reply(CHOSEN)
        )


@pytest.fixture
def server() -> Iterator[Server]:
    answering = Server()
    with chat_server(answering.reply) as url:
        answering.url = url
        yield answering


@pytest.fixture
def sheet(tmp_path: Path) -> str:
    path = tmp_path / "sheet.png"
    Image.new("RGB", (4, 4), "red").save(path)
    return str(path)


@pytest.mark.parametrize("stream_flag", ["--stream", "--no-stream"])
def test_question_answer_candidates_and_json(
    server: Server, sheet: str, stream_flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "ask",
        "Sum?",
        "--image",
        sheet,
        "--best-of",
        "2",
        "--base-url",
        server.url,
        "--json",
        stream_flag,
    ]
    assert run(*arguments) == 0
    shown = capsys.readouterr().out
    *lines, json_line = shown.rstrip("\n").split("\n")
    assert lines[0] == "Question: Sum?"
    assert f"\n\n{WINNER}\n\n" in shown
    assert "scored by nano-critic" in unwrapped(shown)
    assert any(line.split()[:3] == ["0", "0.250", "0.250"] for line in lines)
    result = json.loads(json_line)
    assert (result["question"], result["answer"], result["finish_reason"]) == ("Sum?", WINNER, "stop")
    assert result["test_time_scaling"] == CHOSEN["test_time_scaling"]
    assert result["usage"] == CHOSEN["usage"]


def test_options_become_fields(server: Server, sheet: str) -> None:
    options = "--best-of 8 --delta 0.25 --max-tiles 6 --max-tokens 99 --temperature 0.5 --seed 7 --model nano"
    run(
        "ask",
        "q",
        "--image",
        sheet,
        "--image",
        sheet,
        "--base-url",
        server.url,
        "--no-stream",
        *options.split(),
    )
    (body,) = server.bodies
    images_and_text = body.pop("messages")[0]["content"]
    assert [part["type"] for part in images_and_text] == ["image_url", "image_url", "text"]
    assert body == {
        "test_time_scaling": {"n": 8, "return_candidates": True},
        "mm_processor_kwargs": {"v2pe_delta": 0.25, "max_dynamic_patch": 6},
        "max_tokens": 99,
        "temperature": 0.5,
        "seed": 7,
        "model": "nano",
    }


def test_options_of_videos_become_fields(server: Server, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"moov")
    options = f"--video {clip} --num-frames 64 --fps 2 --timestamps --delta auto --no-stream"
    run("ask", "q", "--base-url", server.url, *options.split())
    (body,) = server.bodies
    assert [part["type"] for part in body["messages"][0]["content"]] == ["video_url", "text"]
    assert body["media_io_kwargs"] == {"video": {"num_frames": 64, "fps": 2.0, "timestamps": True}}
    assert body["mm_processor_kwargs"] == {"v2pe_delta": "auto"}


def test_a_plain_question_sends_nothing_of_ours(server: Server) -> None:
    assert run("ask", "q", "--base-url", server.url, "--no-stream") == 0
    (body,) = server.bodies
    assert set(body) == {"messages"}


def test_a_missing_image_is_one_clear_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", "q", "--image", "nope.png", "--base-url", server.url) == 1
    assert capsys.readouterr().err == "error: can't read nope.png: No such file or directory\n"
    assert server.bodies == []


def test_no_server_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda body: Reply(CHOSEN)) as url:
        pass  # the port was free a moment ago
    assert run("ask", "q", "--base-url", url) == 1
    assert capsys.readouterr().err == f"error: no server answers at {url}; start one with: internvl3 serve\n"


def test_a_refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = {"error": {"message": "best_of must be between 1 and 64, not 0.", "param": "best_of"}}
    with chat_server(lambda body: Reply(refusal, status=400)) as url:
        assert run("ask", "q", "--best-of", "0", "--base-url", url) == 1
    line = "error: best_of must be between 1 and 64, not 0. (HTTP 400, field best_of)\n"
    assert capsys.readouterr().err == line


def test_a_value_that_json_cannot_express_is_not_sent(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", "q", "--delta", "nan", "--base-url", server.url) == 1
    assert "can't be written as JSON" in capsys.readouterr().err
    assert server.bodies == []
