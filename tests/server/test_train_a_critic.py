"""Every command of docs/train-a-critic.md runs as it is printed, with a hub on 127.0.0.1."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.checkpoints import build_checkpoint
from tests.hub_server import HubServer
from tests.server.running import START_SECONDS
from tests.ttscaling.train.fetch.published_layouts import write_bench, write_raw

PAGE = Path(__file__).parents[2] / "docs" / "train-a-critic.md"
# FSDP shards on GPUs only. The launcher is accelerate's here as well.
REPLACED = {"--config_file recipes/fsdp2.yaml --num_processes 8": "--cpu --num_processes 1"}


def commands() -> list[str]:
    """Return the blocks of commands of the page, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def hub(tmp_path: Path) -> HubServer:
    root = tmp_path / "hub"
    for name, seed in (("InternVL3-1B", 2), ("InternVL3-8B", 0)):
        folder = root / "models" / "OpenGVLab" / name
        folder.mkdir(parents=True)
        build_checkpoint(folder, "opengvlab", seed=seed)
    write_raw(root / "datasets")
    write_bench(root / "datasets")
    return HubServer(root)


@contextmanager
def running(command: str, env: dict[str, str], folder: Path, url: str) -> Iterator[None]:
    """Run a server's command until the caller is done; the caller goes on when the server is ready."""
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(f"exec {command}", shell=True, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "serve.log").read_text()
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)


def run(command: str, env: dict[str, str], folder: Path) -> str:
    script = f"set -eu\n{command}\nwait"  # Some commands go on in the background.
    finished = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@pytest.mark.engine
def test_every_command_of_the_page_runs(hub: HubServer, engine_env: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    folder = tmp_path / "work"
    folder.mkdir()
    with hub.running():
        env = engine_env | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "OMP_NUM_THREADS": "1",
        }
        env.pop("HF_HUB_OFFLINE", None)
        blocks = commands()
        serve = next(number for number, block in enumerate(blocks) if block.startswith("internvl3 serve"))
        for block in blocks[:serve]:
            for printed, instead in REPLACED.items():
                block = block.replace(printed, instead)
            run(block, env, folder)
        log = [json.loads(line) for line in (folder / "runs/critic/log.jsonl").read_text().splitlines()]
        assert {"eval/f1", "eval/loss"} <= log[0].keys() and log[0]["step"] == 0
        assert (folder / "runs/critic-8b/model/model.safetensors").is_file()
        with running(f"{blocks[serve].strip()} --port {port}", env, folder, url):
            outputs = [run(f"{block.strip()} --base-url {url}", env, folder) for block in blocks[serve + 1 :]]
    report = json.loads(outputs[-1].splitlines()[-1])
    assert (report["n"], report["critic"]) == (4, "model")
    assert 0 <= report["overall"]["macro_f1"]["f1"] <= 1
