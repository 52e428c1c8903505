"""The command `internvl3 train fetch` with huggingface_hub's own client and a hub on 127.0.0.1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.hub_server import HubServer
from tests.ttscaling.train.fetch.published_layouts import write_bench, write_mmpr, write_raw
from ttscaling.train.cli import app
from ttscaling.train.fetch.published_sets import download


def fetch(hub: HubServer, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, because the hub's client takes its address on import."""
    command = [sys.executable, "-m", "ttscaling.train", "fetch", *arguments, "--output", str(output)]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(output / "home")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_from_the_hub_to_data_that_pass_the_check(tmp_path: Path) -> None:
    published = write_raw(tmp_path / "hub" / "datasets")
    with HubServer(tmp_path / "hub").running() as hub:
        first = fetch(hub, tmp_path / "data", "visualprm400k")
        assert first.returncode == 0, first.stderr
        for path in (tmp_path / "data" / published.name).glob("*.zip*"):
            path.unlink()
        hub.requests.clear()
        again = fetch(hub, tmp_path / "data", "visualprm400k")
        assert again.returncode == 0, again.stderr
        assert not hub.downloads(), "what is unpacked isn't fetched again"
    assert first.stdout == again.stdout
    data, following = first.stdout.splitlines()
    meta = tmp_path / "data" / "VisualPRM400K-v1.1-Raw" / "meta.json"
    assert data == f"data: {meta}"
    words = following.removeprefix("next: internvl3 train ").split()
    checked = CliRunner().invoke(app, words)
    assert checked.exit_code == 0, checked.output
    assert "6 good records with 12 images" in checked.output


def test_the_benchmark_comes_with_its_command(tmp_path: Path) -> None:
    write_bench(tmp_path / "hub" / "datasets")
    with HubServer(tmp_path / "hub").running() as hub:
        result = fetch(hub, tmp_path / "data", "visualprocessbench")
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "data" / "VisualProcessBench"
    assert (
        result.stdout.splitlines()[-1].strip()
        == f"internvl3 eval critic {folder}/test.jsonl --images {folder}"
    )
    assert (folder / "images/MathVision/0.png").is_file()


def test_what_the_hub_does_not_have_is_one_line(tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub").running() as hub:
        result = fetch(hub, tmp_path / "data", "mmpr", "--repository", "lab/none")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        "error: the data set lab/none can't be read on the hub ("
    )
    assert "Traceback" not in result.stderr


def test_a_broken_connection_is_taken_up_again(tmp_path: Path) -> None:
    published = write_mmpr(tmp_path / "hub" / "datasets")
    hub = HubServer(tmp_path / "hub", broken={"images.zip_aa": 100})
    with hub.running():
        download("OpenGVLab/MMPR-v1.2", tmp_path / "out", endpoint=hub.url)
    for path in published.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert not hub.broken


def test_a_small_disk_and_a_hub_that_is_gone(tmp_path: Path) -> None:
    write_mmpr(tmp_path / "hub" / "datasets")
    hub = HubServer(tmp_path / "hub")
    with hub.running(), pytest.raises(OSError, match=r"MMPR-v1\.2 needs 0\.0 GB"):
        download("OpenGVLab/MMPR-v1.2", tmp_path, endpoint=hub.url, free_bytes=lambda folder: 10)
    with pytest.raises(
        ValueError, match=r"can't be read on the hub \(ConnectError\): .* or mend the connection"
    ):
        download("OpenGVLab/MMPR-v1.2", tmp_path, endpoint="http://127.0.0.1:9")
