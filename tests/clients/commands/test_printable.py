"""Whatever a server sends, the terminal gets text and no commands."""

import io
import json
import unicodedata
from typing import Any

import pytest
from rich.console import Console

from clients.commands.answer_printing import print_as_it_comes
from clients.commands.printable import printable, printable_line
from clients.sdk.answer_stream import AnswerStream
from clients.sdk.event_stream import Chunk, Comment
from tests.clients.chat_server import Reply, chat_server, completion, event_stream, scaling
from tests.clients.test_cli import run

# It clears the screen, sets the title, rings, goes back, links, is markup and turns the direction of text.
EVIL = "\x1b[2J\x1b]0;owned\x07\b\r\x9b31m\x1b]8;;http://a\x1b\\\u202e[bold red]x[/] :smile: \x00\x7f\ud800"
SENT = EVIL.replace("\ud800", "")  # JSON of a real server can't hold a lone surrogate as UTF-8


def unsafe(shown: str) -> set[str]:
    return {char for char in shown if char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cs")}


def evil_reply() -> dict[str, Any]:
    report = scaling((SENT, 0.25), (f"{SENT}\n\n{SENT}", 0.5), selected=1)
    report |= {"method": SENT, "critic": SENT, "aggregation": SENT, "stopped": SENT, "degraded": SENT}
    report["votes"] = [{"answer": SENT, "candidates": [0], "score": 1.0}]
    for candidate in report["candidates"]:
        candidate |= {"finish_reason": SENT, "step_scores": [0.5]}  # fewer scores than steps
    return completion(SENT, test_time_scaling=report, model=SENT)


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
def test_a_hostile_reply_is_printed_as_text(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        return event_stream(evil_reply(), comments=(SENT,)) if body.get("stream") else Reply(evil_reply())

    with chat_server(reply) as url:
        assert run("ask", "q", "--best-of", "2", "--json", flag, "--base-url", url) == 0
    shown = capsys.readouterr()
    assert unsafe(shown.out) == unsafe(shown.err) == set()
    assert "[bold red]x[/] :smile:" in shown.out
    assert json.loads(shown.out.rstrip("\n").split("\n")[-1])["answer"] == SENT


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"error": {"message": SENT, "param": SENT, "code": SENT}}, status=400),
        Reply(SENT, status=502),
        Reply(f"data: {json.dumps({'error': {'message': SENT}})}\n\n"),
    ],
)
def test_a_hostile_error_is_printed_as_one_line(reply: Reply, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda body: reply) as url:
        assert run("ask", "q", "--base-url", url, "--header", "x-should-retry: no") == 1
    shown = capsys.readouterr().err
    assert unsafe(shown) == set() and shown.startswith("error: ") and shown.count("\n") == 1


def test_progress_on_a_terminal_is_text_too() -> None:
    chunk = Chunk({"choices": [{"index": 0, "delta": {"content": EVIL}, "finish_reason": "stop"}]})
    out, err = (Console(file=io.StringIO(), force_terminal=True, width=200) for _ in range(2))
    print_as_it_comes(AnswerStream((event for event in (Comment(EVIL), chunk)), "http://127.0.0.1"), out, err)
    for console in (out, err):
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert (
            "\x1b[2J" not in shown and "\x1b]" not in shown and "\x07" not in shown and "\u202e" not in shown
        )
    assert "[bold red]x[/]" in out.file.getvalue()  # type: ignore[attr-defined]


def test_text_of_all_languages_stays_as_it_is() -> None:
    text = "数\u3000é a\u0301 👩\u200d🔬 שלום 1\u00a0000\tx\ny"
    assert printable(text).plain == text
    assert printable("a\r\nb").plain == "a\nb"


def test_a_line_is_one_line_and_ends() -> None:
    assert printable_line("a\n b\tc").plain == "a b c"
    assert len(printable_line("x" * 10_000).plain) < 400
