"""A job gives every item an outcome, and running it again pays nothing and writes nothing twice."""

import json
from pathlib import Path

import pytest

from clients.video_jobs.run.options import Exit
from clients.video_jobs.run.video_group import Shard
from tests.clients.chat_server import Reply, completion
from tests.clients.video_jobs.jobs import answers, errors, lines, options, results, run, videos
from tests.clients.video_jobs.paid_server import PaidServer


def test_every_video_gets_a_line_and_the_same_command_again_costs_nothing(tmp_path: Path) -> None:
    job = videos(tmp_path / "videos", 7)
    with PaidServer() as server:
        ending, _ = run(options(job, tmp_path / "out", server.url))
        assert (ending.code, ending.answered, ending.failed, ending.left) == (Exit.ALL_GOOD, 7, 0, 0)
        before = (tmp_path / "out" / "results.jsonl").read_bytes()
        assert server.paid.total() == 7
        ending, _ = run(options(job, tmp_path / "out", server.url))
        assert (ending.code, ending.answered) == (Exit.ALL_GOOD, 7)
        assert server.paid.total() == 7
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before
    line = results(tmp_path / "out")["000.mp4"]
    assert line["response"]["status_code"] == 200
    assert line["response"]["request_id"].startswith("req-")
    assert line["error"] is None
    assert line["video"] | {"tokens": None} == {
        "source": str(job / "000.mp4"),
        "question": "What happens?",
        "duration": 2.0,
        "strategy": "window",
        "reason": "it is the only one",
        "delta": None,
        "frames": [0.0, 1.0],
        "events": [{"start": 0.0, "end": 1.0, "text": answers(tmp_path / "out")["000.mp4"], "segment": None}],
        "evidence": {},
        "tokens": None,
        "decode_passes": 1,
        "attempts": 1,
    }


def test_no_more_requests_than_allowed_are_at_the_server(tmp_path: Path) -> None:
    with PaidServer() as server:
        run(options(videos(tmp_path / "videos", 12), tmp_path / "out", server.url, concurrency=3))
        assert server.most_at_once <= 3
        assert server.paid.total() == 12


def test_one_failing_item_leaves_the_others_alone(tmp_path: Path) -> None:
    job = videos(tmp_path / "videos", 4)
    (job / "001.mp4").write_bytes(b"")
    manifest = tmp_path / "m.jsonl"
    entries = [{"id": str(number), "video": f"videos/00{number}.mp4"} for number in range(5)]
    entries.append({"id": "0", "video": "videos/000.mp4"})
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + "{broken\n")
    with PaidServer() as server:
        ending, printed = run(options(manifest, tmp_path / "out", server.url))
    assert (ending.code, ending.answered, ending.failed) == (Exit.SOME_FAILED, 3, 4)
    found = errors(tmp_path / "out")
    assert {item: (line["stage"], line["class"]) for item, line in found.items()} == {
        "1": ("probe", "bad_video"),
        "4": ("fetch", "missing_video"),
        "line 6": ("manifest", "bad_line"),
        "line 7": ("manifest", "bad_line"),
    }
    assert "4 failed (fetch, missing_video): there is no file" in printed
    assert sorted(results(tmp_path / "out")) == ["0", "2", "3"]


def test_a_refused_request_fails_its_item_without_another_try(tmp_path: Path) -> None:
    refusal = Reply(
        {"error": {"message": f"bad data:video/mp4;base64,{'QUJD' * 300}", "code": "invalid_video"}},
        status=400,
        headers={"X-Request-Id": "req-7"},
    )
    with PaidServer(lambda body: refusal) as server:
        ending, _ = run(options(videos(tmp_path / "videos", 1), tmp_path / "out", server.url))
        assert len(server.asked) == 1
    assert ending.code == Exit.SOME_FAILED
    (line,) = lines(tmp_path / "out" / "errors.jsonl")
    assert line == {
        "custom_id": "000.mp4",
        "video": str(tmp_path / "videos/000.mp4"),
        "stage": "answer",
        "class": "refused",
        "status": 400,
        "request_id": "req-7",
        "message": "bad data:... (HTTP 400)",
        "attempts": 1,
        "retryable": False,
    }
    assert "QUJD" not in (tmp_path / "out" / "ledger.jsonl").read_text()


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_is_a_failure_of_its_own(tmp_path: Path, text: str) -> None:
    with PaidServer(lambda body: Reply(completion(text))) as server:
        ending, _ = run(options(videos(tmp_path / "videos", 1), tmp_path / "out", server.url))
        assert len(server.asked) == 3
    assert ending.code == Exit.SOME_FAILED
    (line,) = lines(tmp_path / "out" / "errors.jsonl")
    assert (line["class"], line["status"], line["retryable"]) == ("empty_answer", 200, True)


def test_failed_items_are_done_again_when_asked_for(tmp_path: Path) -> None:
    job = videos(tmp_path / "videos", 3)
    (job / "001.mp4").write_bytes(b"")
    with PaidServer() as server:
        chosen = options(job, tmp_path / "out", server.url)
        assert run(chosen)[0].code == Exit.SOME_FAILED
        (job / "001.mp4").write_bytes(b"video 1")
        assert run(chosen)[0].code == Exit.SOME_FAILED  # a failure is not forgotten by itself
        again = options(job, tmp_path / "out", server.url, retry_failed=True)
        assert run(again)[0].code == Exit.ALL_GOOD
        assert server.paid.total() == 3
    assert lines(tmp_path / "out" / "errors.jsonl") == []
    assert sorted(results(tmp_path / "out")) == ["000.mp4", "001.mp4", "002.mp4"]


def test_equal_work_is_paid_once(tmp_path: Path) -> None:
    job = videos(tmp_path / "videos", 1)
    for name in ("copy.mp4", "other/000.mp4"):
        (job / name).parent.mkdir(exist_ok=True)
        (job / name).write_bytes((job / "000.mp4").read_bytes())
    with PaidServer() as server:
        run(options(job, tmp_path / "out", server.url))
        assert server.paid.total() == 1
    assert len(set(answers(tmp_path / "out").values())) == 1
    assert sorted(answers(tmp_path / "out")) == ["000.mp4", "copy.mp4", "other/000.mp4"]


def test_an_item_that_loses_its_worker_is_given_up_after_three_attempts(tmp_path: Path) -> None:
    job = videos(tmp_path / "videos", 3)
    (job / "001.mp4").write_bytes(b"crash")
    with PaidServer() as server:
        ending, _ = run(options(job, tmp_path / "out", server.url))
    assert (ending.code, ending.answered, ending.failed) == (Exit.SOME_FAILED, 2, 1)
    line = errors(tmp_path / "out")["001.mp4"]
    assert (line["stage"], line["class"], line["attempts"], line["retryable"]) == (
        "decode",
        "worker_lost",
        3,
        False,
    )
    starts = [line["attempt"] for line in lines(tmp_path / "out" / "ledger.jsonl") if line["kind"] == "start"]
    assert sorted(starts) == [1, 1, 1, 2, 3]


def test_results_that_a_kill_left_out_or_tore_are_made_good(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 3), tmp_path / "out"
    with PaidServer() as server:
        chosen = options(job, out, server.url)
        run(chosen)
        whole = results(out)
        for content in (
            "",
            (out / "results.jsonl").read_text()[:-9],
            "".join((out / "results.jsonl").read_text().splitlines(keepends=True)[:1]),
        ):
            (out / "results.jsonl").write_text(content)
            assert run(chosen)[0].code == Exit.ALL_GOOD
            assert results(out) == whole
        assert server.paid.total() == 3


def test_another_question_or_another_model_is_refused(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 1), tmp_path / "out"
    with PaidServer() as server:
        run(options(job, out, server.url))
        ending, _ = run(options(job, out, server.url, questions=("Who?",)))
        assert ending.code == Exit.USAGE
        assert "asks something else than before" in (ending.message or "")
        ending, _ = run(options(job, out, server.url, settings={"num_frames": 64}))
        assert ending.code == Exit.USAGE
        assert "config.num_frames is absent there and 64 now" in (ending.message or "")
        server.setup = server.setup | {"policy": {"name": "nano", "checkpoint": "ffff"}}
        ending, _ = run(options(job, out, server.url))
        assert ending.code == Exit.USAGE
        assert 'checkpoint is "3f0c" there and "ffff" now' in (ending.message or "")
        ending, _ = run(options(job, out, server.url, model="other"))
        assert ending.code == Exit.USAGE
        assert "has no model other" in (ending.message or "")
    assert len(results(out)) == 1


def test_the_results_of_another_manifest_are_refused(tmp_path: Path) -> None:
    videos(tmp_path, 2)
    manifests = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for number, manifest in enumerate(manifests):
        manifest.write_text(json.dumps({"id": f"i{number}", "video": f"00{number}.mp4"}) + "\n")
    with PaidServer() as server:
        assert run(options(manifests[0], tmp_path / "out", server.url))[0].code == Exit.ALL_GOOD
        ending, _ = run(options(manifests[1], tmp_path / "out", server.url))
        assert ending.code == Exit.USAGE
        assert "results of another manifest" in (ending.message or "")
        both = tmp_path / "both.jsonl"  # lines may be added
        both.write_text("".join(manifest.read_text() for manifest in manifests))
        assert run(options(both, tmp_path / "out", server.url))[0].code == Exit.ALL_GOOD
        assert server.paid.total() == 2


def test_shards_share_the_videos_and_each_has_its_own_ledger(tmp_path: Path) -> None:
    job, out = videos(tmp_path / "videos", 9), tmp_path / "out"
    with PaidServer() as server:
        for index in range(3):
            assert run(options(job, out, server.url, shard=Shard(index, 3)))[0].code == Exit.ALL_GOOD
        assert server.paid.total() == 9
        assert max(server.paid.values()) == 1
    found = [results(out / f"shard-{index}-of-3") for index in range(3)]
    assert sum(map(len, found)) == 9
    assert len({item for part in found for item in part}) == 9


def test_without_a_server_the_run_says_how_to_start_one(tmp_path: Path) -> None:
    with PaidServer() as server:
        url = server.url
    ending, _ = run(options(videos(tmp_path / "videos", 1), tmp_path / "out", url, patience=0))
    assert ending.code == Exit.STOPPED_EARLY
    assert ending.message == f"no server answers at {url}; start one with: internvl3 serve"
