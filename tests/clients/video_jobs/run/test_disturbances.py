"""Servers go away, are busy, fail or change, and clients are killed: nothing is lost or paid twice."""

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clients.video_jobs.run.options import Exit
from tests.clients.chat_server import Reply
from tests.clients.video_jobs.jobs import answers, errors, lines, options, results, run, videos
from tests.clients.video_jobs.paid_server import PaidServer, echo


def start(job: Path, out: Path, urls: str, concurrency: int = 4) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.clients.video_jobs.job_process"),
            *(str(job), str(out), urls, str(concurrency), ""),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("what the test waits for didn't happen within half a minute")


def undisturbed(job: Path, out: Path) -> dict[str, str]:
    with PaidServer() as server:
        assert run(options(job, out, server.url))[0].code == Exit.ALL_GOOD
    return answers(out)


def test_a_client_that_is_killed_three_times_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 30), tmp_path / "out"

    def slow(body: dict[str, Any]) -> Reply:
        time.sleep(0.05)
        return echo(body)

    with PaidServer(slow) as server:
        for answered in (7, 14, 21):
            client = start(job, out, server.url)
            wait_for(lambda count=answered: server.paid.total() >= count)
            client.kill()
            client.wait()
        assert start(job, out, server.url).wait() == Exit.ALL_GOOD
        repeated = server.paid.total() - 30
    assert answers(out) == undisturbed(job, tmp_path / "other")
    assert len(results(out)) == 30
    assert 0 <= repeated <= 3 * 4


def test_a_server_that_goes_away_costs_only_what_it_was_answering(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 20), tmp_path / "out"
    numbers = itertools.count(1)
    with PaidServer() as server:

        def answer(body: dict[str, Any]) -> Reply:
            if next(numbers) in (6, 15):
                threading.Thread(target=restart).start()
                time.sleep(0.2)
            return echo(body)

        def restart() -> None:
            server.kill()
            time.sleep(1.0)
            server.start()

        server.answer = answer
        ending, printed = run(options(job, out, server.url))
        repeated = server.paid.total() - 20
    assert (ending.code, ending.answered) == (Exit.ALL_GOOD, 20)
    assert 0 <= repeated <= 2 * 4
    assert "is away; waiting for it" in printed
    assert "is back" in printed
    assert answers(out) == undisturbed(job, tmp_path / "other")


def test_a_server_that_loads_is_waited_for_without_being_asked(tmp_path: Path) -> None:
    loading = Reply({"error": {"message": "the models load", "code": "model_loading"}}, 503)
    with PaidServer() as server:

        def answer(body: dict[str, Any]) -> Reply:
            if len(server.asked) == 1:
                server.ready = 503
                threading.Timer(1.0, lambda: setattr(server, "ready", 200)).start()
                return loading
            return echo(body)

        server.answer = answer
        job = videos(tmp_path / "videos", 3)
        ending, _ = run(options(job, tmp_path / "out", server.url, concurrency=1))
        assert ending.code == Exit.ALL_GOOD
        assert len(server.asked) == 4


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_busy_server_is_asked_again(tmp_path: Path, status: int) -> None:
    busy = Reply({"error": {"message": "busy"}}, status, {"Retry-After": "0"})
    with PaidServer() as server:
        server.answer = lambda body: busy if len(server.asked) < 6 else echo(body)
        ending, _ = run(options(videos(tmp_path / "videos", 1), tmp_path / "out", server.url))
        assert ending.code == Exit.ALL_GOOD
        assert len(server.asked) == 6
    assert results(tmp_path / "out")["000.mp4"]["video"]["attempts"] == 1


def test_a_server_that_is_busy_for_too_long_fails_the_item_and_names_it(tmp_path: Path) -> None:
    busy = Reply({"error": {"message": "too many"}}, 429, {"Retry-After": "1"})
    with PaidServer(lambda body: busy) as server:
        ending, _ = run(options(videos(tmp_path / "videos", 1), tmp_path / "out", server.url, patience=0.5))
    assert ending.code == Exit.SOME_FAILED
    line = errors(tmp_path / "out")["000.mp4"]
    assert (line["class"], line["status"], line["retryable"]) == ("busy", 429, True)


def test_a_server_that_fails_is_asked_three_times(tmp_path: Path) -> None:
    with PaidServer(lambda body: Reply({"error": {"message": "a bug"}}, 500)) as server:
        ending, _ = run(options(videos(tmp_path / "videos", 1), tmp_path / "out", server.url))
        assert len(server.asked) == 3
    assert ending.code == Exit.SOME_FAILED
    assert errors(tmp_path / "out")["000.mp4"]["class"] == "server_error"


@pytest.mark.parametrize(
    ("status", "code"), [(401, "invalid_api_key"), (403, None), (429, "insufficient_quota")]
)
def test_without_access_the_run_ends_and_no_item_fails(tmp_path: Path, status: int, code: str | None) -> None:
    refusal = Reply({"error": {"message": "no", "code": code}}, status)
    with PaidServer(lambda body: refusal) as server:
        ending, _ = run(options(videos(tmp_path / "videos", 9), tmp_path / "out", server.url))
        assert len(server.asked) <= 4
    assert (ending.code, ending.failed, ending.left) == (Exit.USAGE, 0, 9)
    assert "set the key with --api-key" in (ending.message or "")


def test_a_server_that_comes_back_with_another_model_ends_the_run(tmp_path: Path) -> None:
    with PaidServer() as server:

        def answer(body: dict[str, Any]) -> Reply:
            if len(server.asked) == 3:
                threading.Thread(target=swap).start()
                time.sleep(0.2)
            return echo(body)

        def swap() -> None:
            server.kill()
            server.setup = server.setup | {"policy": {"name": "nano", "checkpoint": "ffff"}}
            server.start()

        server.answer = answer
        ending, _ = run(options(videos(tmp_path / "videos", 9), tmp_path / "out", server.url, concurrency=1))
    assert (ending.code, ending.failed) == (Exit.USAGE, 0)
    assert "has another model than this job began with (policy differs)" in (ending.message or "")


def test_servers_that_stay_away_end_the_run_and_it_goes_on_later(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 6), tmp_path / "out"
    with PaidServer() as server:

        def answer(body: dict[str, Any]) -> Reply:
            if len(server.asked) == 3:
                threading.Thread(target=server.kill).start()
                time.sleep(0.2)
            return echo(body)

        server.answer = answer
        ending, _ = run(options(job, out, server.url, concurrency=1, patience=1))
        assert (ending.code, ending.failed) == (Exit.STOPPED_EARLY, 0)
        assert "no server has answered" in (ending.message or "")
        server.answer = echo
        server.start()
        assert run(options(job, out, server.url))[0].code == Exit.ALL_GOOD
    assert all(line["video"]["attempts"] == 1 for line in results(out).values())


def test_questions_on_a_video_go_to_one_server_and_to_another_if_it_goes(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 8), tmp_path / "out"
    questions = ("Who?", "What?", "Why?")
    with PaidServer() as first, PaidServer() as second:
        chosen = options(job, out, first.url, second.url, questions=questions)
        assert run(chosen)[0].code == Exit.ALL_GOOD
        for server in (first, second):
            videos_there = Counter(
                body["messages"][0]["content"][0]["video_url"]["url"] for body in server.asked
            )
            assert set(videos_there.values()) == {3}
        assert first.paid.total() + second.paid.total() == 24
        first.kill()
        chosen = options(job, tmp_path / "again", first.url, second.url, questions=questions)
        assert run(chosen)[0].code == Exit.ALL_GOOD


def test_ctrl_c_keeps_what_is_on_its_way_and_the_same_command_goes_on(tmp_path: Path) -> None:
    job, out, gate = videos(tmp_path / "videos", 8), tmp_path / "out", threading.Event()

    def slow(body: dict[str, Any]) -> Reply:
        if len(server.asked) > 2:
            gate.wait()
        return echo(body)

    with PaidServer(slow) as server:
        client = start(job, out, server.url, concurrency=2)
        wait_for(lambda: len(server.asked) == 4)
        client.send_signal(signal.SIGINT)
        assert client.stderr is not None
        wait_for(lambda: "waiting for 2 requests" in client.stderr.readline())
        gate.set()
        assert client.wait() == Exit.INTERRUPTED
        assert server.paid.total() == 4
        assert run(options(job, out, server.url))[0].code == Exit.ALL_GOOD
        assert server.paid.total() == 8
    assert all(line["video"]["attempts"] == 1 for line in results(out).values())


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    job, out, gate = videos(tmp_path / "videos", 4), tmp_path / "out", threading.Event()

    def never(body: dict[str, Any]) -> Reply:
        gate.wait()
        return echo(body)

    with PaidServer(never) as server:
        client = start(job, out, server.url, concurrency=2)
        wait_for(lambda: len(server.asked) == 2)
        client.send_signal(signal.SIGINT)
        assert client.stderr is not None
        wait_for(lambda: "waiting for 2 requests" in client.stderr.readline())
        client.send_signal(signal.SIGINT)
        assert client.wait() == Exit.INTERRUPTED
        gate.set()
    kinds = Counter(line["kind"] for line in lines(out / "ledger.jsonl"))
    assert kinds == {"start": 2, "stop": 2}


def test_a_video_that_kills_the_client_is_given_up_after_three_attempts(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 6), tmp_path / "out"
    (job / "002.mp4").write_bytes(b"kill")
    codes: list[int] = []
    with PaidServer() as server:
        while not codes or codes[-1] == -signal.SIGKILL:
            codes.append(start(job, out, server.url).wait())
        assert max(server.paid.values()) <= 3
    assert codes == [-signal.SIGKILL] * 3 + [Exit.SOME_FAILED]
    assert sorted(results(out)) == ["000.mp4", "001.mp4", "003.mp4", "004.mp4", "005.mp4"]
    line = errors(out)["002.mp4"]
    assert (line["class"], line["attempts"]) == ("worker_lost", 3)
    assert "given up after 3 attempts" in line["message"]


def test_two_runs_of_one_job_do_not_mix(tmp_path: Path) -> None:
    job, out, gate = videos(tmp_path / "videos", 2), tmp_path / "out", threading.Event()

    def slow(body: dict[str, Any]) -> Reply:
        gate.wait()
        return echo(body)

    with PaidServer(slow) as server:
        client = start(job, out, server.url)
        wait_for(lambda: server.asked)
        ending, _ = run(options(job, out, server.url))
        assert ending.code == Exit.USAGE
        assert "another run works in" in (ending.message or "")
        gate.set()
        assert client.wait() == Exit.ALL_GOOD
