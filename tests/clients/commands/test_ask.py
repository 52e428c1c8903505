"""`internvl3 ask` sends its options as fields, and prints answers, candidates and errors."""

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.clients.chat_server import Reply, chat_server, completion, event_stream, scaling
from tests.clients.raw_server import raw_server
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
    options = (
        f"--video {clip} --num-frames 64 --fps 2 --start 1.5 --end 9 --timestamps --delta auto --no-stream"
    )
    run("ask", "q", "--base-url", server.url, *options.split())
    (body,) = server.bodies
    assert [part["type"] for part in body["messages"][0]["content"]] == ["video_url", "text"]
    frames = {"num_frames": 64, "fps": 2.0, "start": 1.5, "end": 9.0, "timestamps": True}
    assert body["media_io_kwargs"] == {"video": frames}
    assert body["mm_processor_kwargs"] == {"v2pe_delta": "auto"}


def test_times_and_uploaded_files_become_fields(server: Server) -> None:
    options = "--file-id file-1 --file-id file-2 --times 1,2.5,40 --no-stream"
    assert run("ask", "q", "--base-url", server.url, *options.split()) == 0
    (body,) = server.bodies
    files = [{"type": "file", "file": {"file_id": f"file-{number}"}} for number in (1, 2)]
    assert body["messages"][0]["content"] == [*files, {"type": "text", "text": "q"}]
    assert body["media_io_kwargs"] == {"video": {"times": [1.0, 2.5, 40.0]}}


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
def test_candidates_are_not_shown_if_nobody_wants_them(
    server: Server, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", "q", "--best-of", "2", "--no-show-candidates", flag, "--base-url", server.url) == 0
    (body,) = server.bodies
    assert body["test_time_scaling"] == {"n": 2, "return_candidates": False}
    shown = capsys.readouterr().out
    assert WINNER in shown and "scored by" not in shown


def test_the_question_may_come_from_standard_input(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Wie viele? 几个\n".encode()), "utf-8"))
    assert run("ask", "-", "--base-url", server.url, "--no-stream") == 0
    (body,) = server.bodies
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Wie viele? 几个"}]
    assert "Question: Wie viele? 几个" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "problem"), [(b" \n", "no question"), (b"\xff\xfe", "no UTF-8")])
def test_standard_input_without_a_question_is_refused(
    server: Server,
    content: bytes,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
    assert run("ask", "-", "--base-url", server.url) == 2
    assert problem in capsys.readouterr().err
    assert server.bodies == []


@pytest.mark.parametrize(
    "options",
    [
        ["--header", "no colon"],
        ["--header", "X-Team: a\nb"],
        ["--times", "1,soon"],
        ["--fps", "fast"],
        ["--base-url", "nonsense"],
        ["--api-key", "se\ncret"],
        ["--unknown"],
    ],
)
def test_a_wrong_command_has_an_exit_code_of_its_own(
    server: Server, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", "q", "--base-url", server.url, *options) == 2
    shown = capsys.readouterr().err
    assert shown and "cret" not in shown.replace("secret", "") and "Traceback" not in shown
    assert server.bodies == []


def test_key_and_headers_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = json.dumps(CHOSEN)
    monkeypatch.setenv("INTERNVL3_API_KEY", "from the environment")
    with raw_server(lambda server: [server.replies(reply), server.replies(reply)]) as server:
        common = ["ask", "q", "--no-stream", "--base-url", server.url, "--header", "X-Team: a: b"]
        assert run(*common) == run(*common, "--api-key", "own") == 0
    first, second = (request.lower() for request in server.requests)
    assert b"authorization: bearer from the environment\r\n" in first and b"x-team: a: b\r\n" in first
    assert b"authorization: bearer own\r\n" in second


def test_an_interrupted_question_has_the_exit_code_of_shells() -> None:
    with raw_server(lambda server: [server.is_silent]) as server:
        # A shell may start the tests with this signal ignored, and processes inherit that.
        code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        code += f"from clients.cli import main; main(['ask', 'q', '--base-url', {server.url!r}])"
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        while not server.requests and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in shown and "Traceback" not in shown


def test_a_plain_question_sends_nothing_of_ours(server: Server) -> None:
    assert run("ask", "q", "--base-url", server.url, "--no-stream") == 0
    (body,) = server.bodies
    assert set(body) == {"messages"}


def test_a_missing_image_is_one_clear_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", "q", "--image", "nope.png", "--base-url", server.url) == 2
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
    assert run("ask", "q", "--delta", "nan", "--base-url", server.url) == 2
    assert "can't be written as JSON" in capsys.readouterr().err
    assert server.bodies == []
