"""The systems of `internvl3 bench video` take the same frames, and wrong frames are counted."""

import json
from pathlib import Path

import av
import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.cli import app
from bench.harness.contest import Sample
from bench.video import clip as bench_clip
from bench.video.command import OURS, PEERS, TRUTH, rows, unlike
from bench.video.systems import Decord, OurKeyframes, Ours, Sequential, Vllm
from tests.videos import Clip


def sample(system: str, result: list[str] | None, *, repeat: int = 0, cpu: float = 1.0) -> Sample:
    return Sample(system, "case", 1, repeat, cpu, 2 * cpu, 300.0, 100.0, result)


@pytest.mark.parametrize("system", [Ours, Vllm, Decord])
def test_every_system_delivers_the_same_frames(clip: Clip, system: type):
    case = {"path": str(clip("plain.mp4")), "frames": 6}
    truth, contender = Sequential(), system()
    digests = contender.summary(contender.work(contender.prepare(case)))
    assert len(set(digests)) == 6
    assert digests == truth.summary(truth.work(case))


def test_keyframes_are_other_frames(clip: Clip):
    case = {"path": str(clip("plain.mp4")), "frames": 6}
    systems = Ours(), OurKeyframes()
    exact, keyframes = (system.summary(system.work(case)) for system in systems)
    assert len(keyframes) == 3 and unlike(keyframes, exact) == 6


@pytest.mark.parametrize(
    ("digests", "wrong"), [("abc", 0), ("axc", 1), ("bca", 3), ("ab", 1), ("", 3), ("abcd", 0)]
)
def test_unlike(digests: str, wrong: int):
    assert unlike(list(digests), list("abc")) == wrong


def test_rows():
    samples = [
        *(sample(OURS, list("abc") if cpu == 3 else None, repeat=cpu, cpu=cpu) for cpu in (3, 1, 2)),
        sample(PEERS[0], list("abx"), cpu=4.0),
        sample(TRUTH, list("abc"), cpu=9.0),
    ]
    ours, peer, truth = rows(samples, 2.0)
    assert (ours["system"], ours["cpu_s"], ours["wall_s"], ours["memory_mib"]) == (OURS, 2, 4, 100)
    assert (ours["wrong_frames"], peer["wrong_frames"], truth["wrong_frames"]) == (0, 1, 0)
    assert (ours["ratio"], peer["ratio"]) == (2.0, None)
    assert rows(samples[:-1], None)[0]["wrong_frames"] is None  # There is nothing to compare with.


def test_the_video_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench_clip, "FOLDER", tmp_path)
    path = bench_clip.make_clip(0.15, Console(quiet=True))
    with av.open(path) as file:
        keyframes = [packet.is_keyframe for packet in file.demux(video=0) if packet.size]
        assert (file.streams.video[0].width, file.streams.video[0].height) == bench_clip.SIZE
    assert len(keyframes) == 270 and sum(keyframes) == 2
    written = path.stat().st_mtime_ns
    assert bench_clip.make_clip(0.15, Console(quiet=True)) == path
    assert path.stat().st_mtime_ns == written
    assert list(tmp_path.iterdir()) == [path]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench_clip, "FOLDER", tmp_path)
    result = CliRunner().invoke(
        app, ["video", "--minutes", "0.05", "--frames", "4", "--repeats", "1", "--json"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["ratio"] > 0 and report["failures"] == {}
    wrong = {row["system"]: row["wrong_frames"] for row in report["rows"]}
    assert [wrong[system] for system in (OURS, *PEERS, TRUTH)] == [0, 0, 0, 0]
    assert {"av", "decord", "opencv-python-headless", "python"} <= set(report["versions"])
