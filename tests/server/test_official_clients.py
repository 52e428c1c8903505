"""OpenAI's Python and Node clients and LangChain return the same answer to one streamed Best-of-N request.

The tests run the scripts in docs/clients. Their packages are installed once into runs/clients, from lock
files.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.server.client_packages import INSTALLED, ROOT, install, langchain_folder
from tests.server.media.test_loader import data_url, encoded
from tests.server.running import RunningServer

pytestmark = pytest.mark.engine
SCRIPTS = ROOT / "docs" / "clients"
IMAGE = encoded("PNG", (300, 200))
QUESTION = "How many?"


@pytest.fixture(scope="module")
def expected(server: RunningServer) -> dict[str, Any]:
    """Return the answer that OpenAI's Python client assembles from a stream. It checks every chunk."""
    content: Any = [{"type": "image_url", "image_url": {"url": data_url(IMAGE)}}]
    content.append({"type": "text", "text": QUESTION})
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    with client.chat.completions.stream(
        model="nano",
        messages=[{"role": "user", "content": content}],
        max_tokens=64,
        seed=7,
        stream_options={"include_usage": True},
        extra_body={"best_of": 8},
    ) as stream:
        events = list(stream)
        # get_final_completion would refuse an answer that was cut off.
        completion = stream.current_completion_snapshot
    text = "".join(event.delta for event in events if event.type == "content.delta")
    assert text and completion.choices[0].message.content == text
    last = [event.chunk for event in events if event.type == "chunk"][-1]
    assert last.usage is not None and last.model_extra is not None
    return {
        "text": text,
        "usage": last.usage,
        "test_time_scaling": last.model_extra["test_time_scaling"],
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clients") / "image.png"
    path.write_bytes(IMAGE)
    return path


def test_node(server: RunningServer, image: Path, expected: dict[str, Any]):
    folder = INSTALLED / "node"
    if shutil.which("npm") is None:
        pytest.skip("Node is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    for file in SCRIPTS.glob("*.*"):
        shutil.copy(file, folder)
    install(folder, SCRIPTS / "package-lock.json", "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    result = run(server, image, "node", str(folder / "best-of-8.mjs"))
    assert result["text"] == expected["text"]
    assert result["usage"]["completion_tokens"] == expected["usage"].completion_tokens
    assert without_usage(result) == without_usage(expected)


def test_langchain(server: RunningServer, image: Path, expected: dict[str, Any]):
    folder = langchain_folder()
    script = str(SCRIPTS / "best_of_8_langchain.py")
    result = run(server, image, sys.executable, script, PYTHONPATH=str(folder))
    assert result["text"] == expected["text"]
    assert result["usage"]["output_tokens"] == expected["usage"].completion_tokens
    assert result["usage"]["input_tokens"] == expected["usage"].prompt_tokens


def run(server: RunningServer, image: Path, *command: str, **env: str) -> dict[str, Any]:
    """Run a script and return the JSON object on its last line. The streamed text stands before this line."""
    arguments = [*command, f"{server.url}/v1", "nano", str(image), QUESTION]
    result = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | env, check=False)
    assert result.returncode == 0, result.stderr
    streamed, _, last = result.stdout.rstrip("\n").rpartition("\n")
    printed: dict[str, Any] = json.loads(last)
    assert streamed == printed["text"]
    return printed


def without_usage(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `test_time_scaling` report without its usage, which depends on the caches."""
    return {name: value for name, value in result["test_time_scaling"].items() if name != "usage"}
