"""The results of shards are put together, each item once."""

from pathlib import Path

import pytest

from clients.video_jobs.ledger.identity import OtherJob, check_identity, read_manifest
from clients.video_jobs.outputs.merging import merge_shards
from clients.video_jobs.outputs.report import write_report
from clients.video_jobs.outputs.thumbnails import keep_thumbnails, thumbnails_of
from tests.clients.video_jobs.jobs import errors, ids, lines, results
from tests.clients.video_jobs.outputs.folders import error_of, line_of, write_job


def test_shards_become_one_job(tmp_path: Path) -> None:
    first = write_job(tmp_path / "shard-0-of-2", [line_of("a"), line_of("b")], [error_of("c")], "0/2")
    write_job(tmp_path / "shard-1-of-2", [line_of("d")], [], "1/2")
    keep_thumbnails(first, "a", [(0.5, b"jpeg")])
    for _ in range(2):  # it may be called again
        merged = merge_shards(tmp_path)
        assert (merged.results, merged.errors, merged.missing, merged.unfinished) == (3, 1, (), ())
        assert ids(lines(tmp_path / "results.jsonl")) == ["a", "b", "d"]
        assert sorted(errors(tmp_path)) == ["c"]
    assert read_manifest(tmp_path)["progress"] == {"items": 4, "done": 3, "failed": 1}
    assert list(thumbnails_of(tmp_path, "a")) == [0.5]
    write_report(tmp_path)


def test_missing_and_unfinished_shards_are_named(tmp_path: Path) -> None:
    write_job(tmp_path / "shard-0-of-3", [line_of("a")], [], "0/3")
    killed = tmp_path / "shard-2-of-3"
    killed.mkdir()
    check_identity(killed, {"config": {}, "server": {"model": "nano"}, "shard": "2/3"})
    merged = merge_shards(tmp_path)
    assert (merged.missing, merged.unfinished) == (("shard-1-of-3",), ("shard-2-of-3",))


def test_an_item_that_one_shard_answered_is_no_error_of_another(tmp_path: Path) -> None:
    write_job(tmp_path / "shard-0-of-2", [line_of("a")], [], "0/2")
    write_job(tmp_path / "shard-1-of-2", [line_of("a", "again")], [error_of("a")], "1/2")
    merge_shards(tmp_path)
    assert list(results(tmp_path)) == ["a"]
    assert errors(tmp_path) == {}


def test_shards_of_different_jobs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OtherJob, match="holds no shards"):
        merge_shards(tmp_path)
    write_job(tmp_path / "shard-0-of-2", [line_of("a")], [], "0/2")
    other = write_job(tmp_path / "shard-1-of-2", [line_of("b")], [], "1/2", settings={"delta": 1})
    with pytest.raises(OtherJob, match="different settings"):
        merge_shards(tmp_path)
    other.rename(tmp_path / "shard-1-of-3")
    with pytest.raises(OtherJob, match="two divisions"):
        merge_shards(tmp_path)
