"""`internvl3 batch` answers questions on real videos, says what it costs, and merges shards."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clients.commands.batch_outputs import resume_command
from clients.video_jobs.questions import Event, PaidRequest
from tests.clients.chat_server import Reply, completion
from tests.clients.test_cli import run
from tests.clients.video_jobs.jobs import errors, lines, results
from tests.clients.video_jobs.paid_server import PaidServer, echo
from tests.clients.video_jobs.planted import SeeingModel, write_planted
from tests.videos import write_sound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of which two have one name, and what is no video."""
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("a/clip.mp4", "b/clip.mp4", "c.mp4")):
        (root / name).parent.mkdir(exist_ok=True)
        write_planted(root / name, 6, [Event(1.0 + number, 2.0 + number, "red")])
    return root


@pytest.fixture
def call(tmp_path: Path) -> Any:
    """Run `internvl3 batch` in a folder of its own, and return its exit code."""

    def batch(*arguments: object) -> Any:
        return run(
            "batch", *map(str, arguments), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "c")
        )

    return batch


def test_a_folder_of_videos(folder: Path, call: Any, tmp_path: Path, capsys: Any) -> None:
    with PaidServer() as server:
        arguments = (folder, "--question", "What happens?", "--base-url", server.url, "--temperature", 0)
        assert call(*arguments, "--report", "--export", "chapters") == 0
        assert server.paid.total() == 3
        assert call(*arguments) == 0
        assert server.paid.total() == 3
        body = server.asked[-1]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 1024, "nano")
    assert body["messages"][0]["content"][0]["video_url"]["url"].startswith("data:video/jpeg;base64,")
    found = results(tmp_path / "out")
    assert sorted(found) == ["a/clip.mp4", "b/clip.mp4", "c.mp4"]
    assert {tuple(line["video"]["frames"]) for line in found.values()} == {(0.0, 1.0, 2.0, 3.0, 4.0, 5.0)}
    assert all(line["video"]["decode_passes"] == 1 for line in found.values())
    summary = json.loads(capsys.readouterr().out.rstrip("\n").split("\n")[-1])
    assert summary == {"exit": 0, "answered": 3, "failed": 0, "left": 0, "out": str(tmp_path / "out")}
    assert (tmp_path / "out" / "report.html").exists()
    assert (tmp_path / "out" / "chapters" / "a%2Fclip.mp4.vtt").exists()


def test_two_questions_cost_one_decode(folder: Path, call: Any, tmp_path: Path) -> None:
    with PaidServer() as server:
        questions = ("--question", "Who?", "--question", "What?")
        assert call(folder / "c.mp4", *questions, "--base-url", server.url) == 0
    passes = {item: line["video"]["decode_passes"] for item, line in results(tmp_path / "out").items()}
    assert passes == {"c.mp4#1": 1, "c.mp4#2": 0}


def test_bad_videos_are_named_and_the_others_go_on(folder: Path, call: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    whole = (folder / "c.mp4").read_bytes()
    (bad / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (bad / "empty.mp4").write_bytes(b"")
    (bad / "good.mp4").write_bytes(whole)
    (bad / "text.mp4").write_text("no video")
    write_sound(bad / "sound.mp4")
    with PaidServer() as server:
        assert call(bad, "--question", "What happens?", "--base-url", server.url) == 1
        assert server.paid.total() == 1
    found = errors(tmp_path / "out")
    assert {item: (line["stage"], line["class"]) for item, line in found.items()} == {
        "cut.mp4": ("probe", "bad_video"),
        "empty.mp4": ("probe", "bad_video"),
        "sound.mp4": ("probe", "bad_video"),
        "text.mp4": ("probe", "bad_video"),
    }
    assert "only sound" in found["sound.mp4"]["message"]
    assert list(results(tmp_path / "out")) == ["good.mp4"]


def test_segments_give_events_with_pictures(folder: Path, call: Any, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        if "response_format" not in body:
            return Reply(completion("a red picture"))
        return Reply(
            completion(json.dumps({"events": SeeingModel().listed(PaidRequest("segment 1", body, ""))}))
        )

    with PaidServer(answer) as server:
        arguments = (folder / "a", "--question", "What?", "--strategy", "segments", "--base-url", server.url)
        assert call(*arguments, "--report") == 0
    (line,) = results(tmp_path / "out").values()
    assert line["video"]["strategy"] == "segments"
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "a red picture"
    assert [event["text"] for event in line["video"]["events"]] == ["red"]
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/jpeg;base64,") == 1


def test_items_may_have_parameters_of_their_own(folder: Path, call: Any, tmp_path: Path) -> None:
    manifest = folder / "manifest.jsonl"
    entries = [
        {"id": "few", "video": "c.mp4", "parameters": {"num_frames": 2, "anchors": 1, "top_p": 0.5}},
        {"id": "wrong", "video": "c.mp4", "parameters": {"strategy": "guess"}},
        {"id": "late", "video": "c.mp4", "start": 100},
    ]
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with PaidServer() as server:
        assert call(manifest, "--question", "What?", "--base-url", server.url) == 1
        (body,) = server.asked
    assert body["top_p"] == 0.5
    assert len(results(tmp_path / "out")["few"]["video"]["frames"]) == 2
    found = errors(tmp_path / "out")
    assert "there is no strategy guess" in found["wrong"]["message"]
    assert "ends at 6 s" in found["late"]["message"]


def test_a_dry_run_pays_and_writes_nothing(folder: Path, call: Any, tmp_path: Path, capsys: Any) -> None:
    with PaidServer() as server:
        arguments = (folder, "--question", "What happens?", "--base-url", server.url)
        assert call(*arguments, "--dry-run") == 0
        assert server.paid.total() == 0
    assert not (tmp_path / "out").exists()
    sums = json.loads(capsys.readouterr().out.rstrip("\n").split("\n")[-1])
    assert (sums["items"], sums["requests"], sums["unknown"]) == (3, 3, 0)
    assert sums["prompt_tokens"] > 3 * 6 * 256
    assert not (tmp_path / "c").exists()


def test_shards_are_merged(folder: Path, call: Any, tmp_path: Path) -> None:
    with PaidServer() as server:
        for shard in ("0/2", "1/2"):
            arguments = (folder, "--question", "What?", "--base-url", server.url)
            assert call(*arguments, "--shard", shard) == 0
        assert server.paid.total() == 3
    assert run("batch", "merge", str(tmp_path / "out"), "--report") == 0
    assert len(results(tmp_path / "out")) == 3


def test_a_key_goes_with_every_request_and_is_never_printed(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("INTERNVL3_API_KEY", "sk-secret")
    with PaidServer() as server:
        assert call(folder / "c.mp4", "--question", "What?", "--base-url", server.url) == 0
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-secret"}
    shown = capsys.readouterr()
    assert "sk-secret" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere", "--question", "q"], "there is no nowhere"),
        (["."], "there is no question"),
        ([".", "--question", "q", "--strategy", "guess"], "there is no strategy guess"),
        ([".", "--question", "q", "--num-frames", "0"], "at least 1 frame"),
        ([".", "--question", "q", "--delta", "big"], "--delta is big"),
        ([".", "--question", "q", "--shard", "4/4"], "the shards of N are 0/N to N-1/N"),
        ([".", "--question", "q", "--shard", "1"], "write I/N"),
        ([".", "--question", "q", "--export", "xml"], "there is no export xml"),
        ([".", "--question", "q", "--schema", "nowhere.json"], "--schema nowhere.json"),
        ([".", "--question", "q", "--fps", "0"], "a second must give"),
        ([".", "--question", "q", "--base-url", "http://[", "--dry-run"], ""),
        ([".", "--question", "q", "--base-url", "localhost:8000"], "is no address of a server"),
    ],
)
def test_wrong_options_are_one_line(
    folder: Path, call: Any, arguments: list[str], reason: str, capsys: Any
) -> None:
    assert call(*(folder if word == "." else word for word in arguments)) == 2
    shown = capsys.readouterr().err
    assert reason in shown
    assert "Traceback" not in shown


def test_the_command_that_resumes_hides_the_key() -> None:
    arguments = ["batch", "my videos", "--api-key", "sk-1", "--question", "Who's there?", "--api-key=sk-2"]
    assert resume_command(arguments) == (
        "internvl3 batch 'my videos' --api-key KEY --question 'Who'\"'\"'s there?' --api-key=KEY"
    )


def test_without_a_server_the_line_says_how_to_go_on(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.argv", ["internvl3", "batch", "x"])
    with PaidServer() as server:
        url = server.url
    assert call(folder, "--question", "What?", "--base-url", url, "--patience", 0) == 3
    shown = capsys.readouterr()
    assert f"error: no server answers at {url}; start one with: internvl3 serve" in shown.err
    assert "go on with: internvl3 batch x" in shown.err
    assert json.loads(shown.out)["exit"] == 3


def test_the_ledger_holds_no_media(folder: Path, call: Any, tmp_path: Path) -> None:
    with PaidServer() as server:
        assert call(folder / "c.mp4", "--question", "What?", "--base-url", server.url) == 0
    kinds = [line["kind"] for line in lines(tmp_path / "out" / "ledger.jsonl")]
    assert kinds == ["start", "step", "done"]
    assert "base64" not in (tmp_path / "out" / "ledger.jsonl").read_text()


def test_a_cache_that_vanishes_costs_nothing(folder: Path, call: Any, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        shutil.rmtree(tmp_path / "c", ignore_errors=True)
        return echo(body)

    with PaidServer(answer) as server:
        questions = ("--question", "Who?", "--question", "What?")
        assert call(folder, *questions, "--base-url", server.url, "--concurrency", 1) == 0
        assert server.paid.total() == 6
    assert len(results(tmp_path / "out")) == 6


def test_a_cache_that_cannot_be_written_ends_the_run(folder: Path, call: Any, tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a file")
    with PaidServer() as server:
        assert call(folder, "--question", "Who?", "--base-url", server.url) == 3
        assert server.paid.total() == 0
    assert errors(tmp_path / "out") == {}


def test_notes_that_serve_two_questions_are_planned_once(folder: Path, call: Any, capsys: Any) -> None:
    def requests(*questions: str) -> int:
        words = [word for question in questions for word in ("--question", question)]
        options = ("--strategy", "segments", "--segment-seconds", 2, "--overlap-seconds", 0, "--dry-run")
        assert call(folder / "c.mp4", *words, *options, "--base-url", "http://127.0.0.1:9") == 0
        return int(json.loads(capsys.readouterr().out.rstrip("\n").split("\n")[-1])["requests"])

    assert requests("Who?", "What?") == requests("Who?") + 1
