import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from model.checkpoint.config_file import read_delta, write_delta
from tests.clients.chat_server import Reply, chat_server, completion

TOO_LONG = {"error": {"message": "No v2pe_delta makes it fit: send less", "type": "BadRequestError"}}


def delta_server(
    right: Callable[[int, float], bool], *, own: float = 1.0, fits: Callable[[float], bool] = lambda _: True
) -> Callable[[dict[str, Any]], Reply]:
    """Answer question i right if `right(i, delta)`, and refuse deltas that don't fit."""

    def reply(body: dict[str, Any]) -> Reply:
        assert body["temperature"] == 0
        delta = body.get("mm_processor_kwargs", {}).get("v2pe_delta", own)
        if not fits(delta):
            return Reply(TOO_LONG, 400)
        image, text = body["messages"][0]["content"]
        assert image["type"] == "image_url"
        number = int(text["text"].split()[-1])
        stated = number if right(number, delta) else -1
        return Reply(completion(f"Step.\n\nFinal answer: {stated}", vision={"v2pe_delta": delta}))

    return reply


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A file of eight questions; the answer to question i is i."""
    (tmp_path / "page.png").write_bytes(b"png")
    rows = [{"question": f"Number {i}", "answer": i, "image": "page.png"} for i in range(8)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tune(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, Any]:
    """Return the exit status, and the object in the last line of output or the text on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["tune-delta", *map(str, arguments)])
    output, errors = capsys.readouterr()
    return ended.value.code, errors if ended.value.code else json.loads(output.splitlines()[-1])


def accuracies(report: Mapping[str, Any]) -> dict[float, float]:
    return {entry["v2pe_delta"]: entry["accuracy"] for entry in report["deltas"]}


def test_the_best_delta_is_found_and_written(
    capsys: pytest.CaptureFixture[str], questions: Path, tmp_path: Path
) -> None:
    """Seven of eight answers are right with 1/4, and one with other deltas. Other keys of the file stay."""
    config = {"model_type": "internvl_chat", "template": "internvl2_5", "llm_config": {"rope_scaling": None}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    plot, page = tmp_path / "deltas.png", tmp_path / "page.md"
    arguments = ["--questions", questions, "--policy", tmp_path, "--write", "--plot", plot, "--page", page]
    with chat_server(delta_server(lambda i, delta: i < (7 if delta == 0.25 else 1))) as url:
        _, report = tune(capsys, "--base-url", url, "--json", *arguments)
    assert report["best"] == 0.25 and report["current"] == 1.0 and report["n"] == 8
    assert len(report["deltas"]) == 9
    assert accuracies(report) == {d: 0.875 if d == 0.25 else 0.125 for d in accuracies(report)}
    best = report["deltas"][2]
    assert best["low"] < 0.875 < best["high"]
    assert report["gain"]["difference"] == 0.75 and report["surely_better"]
    assert report["written"] == str(tmp_path / "config.json")
    assert json.loads((tmp_path / "config.json").read_text()) == {**config, "v2pe_delta": 0.25}
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "| 1/4 | 87.5 |" in page.read_text() and "(deltas.png)" in page.read_text()


@pytest.mark.parametrize(
    ("right", "why"),
    [
        (lambda i, delta: i < (6 if delta == 0.25 else 4), "the interval of the gain holds 0"),
        (lambda i, delta: i < (8 if delta == 0.25 else 5), "the sign test of three questions says nothing"),
        (lambda i, delta: i < (2 if delta == 0.25 else 6), "the best delta is the present one"),
    ],
)
def test_a_delta_that_is_not_surely_better_is_not_written(
    right: Callable[[int, float], bool],
    why: str,
    capsys: pytest.CaptureFixture[str],
    questions: Path,
    tmp_path: Path,
) -> None:
    """Only the table and the reason are shown, and the checkpoint keeps its file."""
    (tmp_path / "config.json").write_text("{}")
    arguments = ["--questions", questions, "--policy", tmp_path, "--write", "--deltas", "1,1/4"]
    with chat_server(delta_server(right)) as url, pytest.raises(SystemExit) as ended:
        main(["tune-delta", "--base-url", url, *map(str, arguments), "--json"])
    shown = capsys.readouterr().out
    report = json.loads(shown.splitlines()[-1])
    assert ended.value.code == 0 and report["written"] is None and not report["surely_better"], why
    assert "Nothing was written, because no delta is surely better" in " ".join(shown.split())
    assert (tmp_path / "config.json").read_text() == "{}"


def test_an_answer_that_was_cut_off_is_read_as_the_server_reads_it(
    capsys: pytest.CaptureFixture[str], questions: Path
) -> None:
    """The number in the last line of a text that was cut off may be the beginning of a sum."""

    def reply(body: dict[str, Any]) -> Reply:
        delta = body.get("mm_processor_kwargs", {}).get("v2pe_delta", 1.0)
        number = body["messages"][0]["content"][1]["text"].split()[-1]
        answer = completion(f"I count them.\n\n{number}", vision={"v2pe_delta": delta})
        answer["choices"][0]["finish_reason"] = "length" if delta == 1 else "stop"
        return Reply(answer)

    with chat_server(reply) as url:
        _, report = tune(capsys, "--base-url", url, "--questions", questions, "--deltas", "1,1/4", "--json")
    assert accuracies(report) == {1.0: 0.0, 0.25: 1.0}


def test_of_equally_good_deltas_the_largest_wins(capsys: pytest.CaptureFixture[str], questions: Path) -> None:
    """The server's own delta is measured too."""
    server = delta_server(lambda i, delta: delta < 0.3 or i == 0, own=0.5)
    with chat_server(server) as url:
        _, report = tune(
            capsys, "--base-url", url, "--questions", questions, "--deltas", "0.0625, 1/4,1/8", "--json"
        )
    assert list(accuracies(report)) == [0.5, 0.25, 0.125, 0.0625]
    assert (report["best"], report["current"], report["written"]) == (0.25, 0.5, None)


def test_a_question_that_does_not_fit_is_wrong_with_that_delta(
    capsys: pytest.CaptureFixture[str], questions: Path
) -> None:
    server = delta_server(lambda i, delta: True, own=0.25, fits=lambda delta: delta < 0.5)
    with chat_server(server) as url:
        _, report = tune(
            capsys, "--base-url", url, "--questions", questions, "--deltas", "1,1/4,1/8", "--json"
        )
    assert accuracies(report) == {1.0: 0.0, 0.25: 1.0, 0.125: 1.0}
    assert [entry["too_long"] for entry in report["deltas"]] == [8, 0, 0]
    assert report["best"] == 0.25


def test_what_cannot_be_measured_is_an_error(
    capsys: pytest.CaptureFixture[str], questions: Path, tmp_path: Path
) -> None:
    def message(*arguments: object) -> str:
        status, errors = tune(capsys, "--questions", questions, *arguments)
        assert status == 1
        return " ".join(errors.split())

    def without_vision(body: dict[str, Any]) -> Reply:
        return Reply(completion("Final answer: 1"))

    def deaf(body: dict[str, Any]) -> Reply:
        return Reply(completion("Final answer: 1", vision={"v2pe_delta": 1.0}))

    assert "--base-url, or a checkpoint's --policy" in message()
    assert "must be a checkpoint's folder" in message("--policy", tmp_path)
    assert "write numbers like" in message("--base-url", "http://127.0.0.1:9", "--deltas", "1/0")
    with chat_server(without_vision) as url:
        assert "every question must show an image or a video" in message("--base-url", url)
    with chat_server(deaf) as url:
        assert "--write needs --policy" in message("--base-url", url, "--write")
        assert "the server used v2pe_delta 1 where 0.00390625 was asked" in message(
            "--base-url", url, "--deltas", "1/256"
        )
        write_delta_into(tmp_path, 0.5)
        assert "says 0.5: start the server on that checkpoint" in message(
            "--base-url", url, "--policy", tmp_path, "--write"
        )


def write_delta_into(folder: Path, delta: float) -> None:
    """Write a config with this delta."""
    (folder / "config.json").write_text("{}")
    write_delta(folder, delta)
    assert read_delta(folder) == delta


def test_a_shared_config_is_not_written_through_its_link(tmp_path: Path) -> None:
    """A hub cache has such links. The link is replaced, and the shared file stays unchanged."""
    (tmp_path / "blob").write_text('{"v2pe_delta": 1}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")
    write_delta(tmp_path, 0.25)
    assert read_delta(tmp_path) == 0.25
    assert json.loads((tmp_path / "blob").read_text()) == {"v2pe_delta": 1}
