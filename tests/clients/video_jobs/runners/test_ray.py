"""A batch on a Ray cluster gives the same answers, and a video that kills its worker is given up."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from clients.video_jobs.run.options import Exit
from clients.video_jobs.runners.ray import RayError, run_on_ray
from tests.clients.video_jobs.jobs import answers, errors, options, results, run, videos
from tests.clients.video_jobs.paid_server import PaidServer
from tests.clients.video_jobs.whole_video import whole_video

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray[data] is not installed: it is an extra")


@needs_ray
def test_a_cluster_answers_as_one_process_does_and_gives_up_what_kills_its_worker(tmp_path: Path) -> None:
    job, said = videos(tmp_path / "videos", 5), list[str]()
    (job / "002.mp4").write_bytes(b"kill")
    (job / "003.mp4").write_bytes(b"")
    with PaidServer() as server:
        chosen = options(job, tmp_path / "out", server.url, concurrency=2)
        ending = run_on_ray(chosen, whole_video, "local", said.append)
        assert (ending.code, ending.answered, ending.failed) == (Exit.SOME_FAILED, 3, 2)
        assert server.paid.total() == 3
        again = run_on_ray(chosen, whole_video, "local", said.append)
        assert again == ending
        assert server.paid.total() == 3
        (job / "002.mp4").unlink()
        run(options(job, tmp_path / "plain", server.url))
    assert answers(tmp_path / "out") == answers(tmp_path / "plain")
    found = errors(tmp_path / "out")
    assert {item: (line["class"], line["attempts"]) for item, line in found.items()} == {
        "002.mp4": ("worker_lost", 3),
        "003.mp4": ("bad_video", 1),
    }
    assert len(results(tmp_path / "out")) == 3


def test_without_ray_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # how Python marks what can't be imported
    chosen = options(videos(tmp_path / "videos", 1), tmp_path / "out", "http://127.0.0.1:9")
    with pytest.raises(RayError, match="pip install 'ray"):
        run_on_ray(chosen, whole_video, "local", lambda line: None)
