"""Run the pages of the cookbook, each from its first program to its last, and look at what they leave."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.server.client_packages import langchain_folder
from tests.server.running import RunningServer
from tests.test_docs import DOCS, FENCED, ROOT
from tests.videos import write_video

pytestmark = pytest.mark.engine

ADDRESS = "http://127.0.0.1:8000"
PAGES = sorted((DOCS / "cookbook").glob("*.md"))
# What the programs of a page print, besides other things. The server's models are random.
PRINTED = {
    "three-lines.md": r"\[\d\.\d+",
    "document-to-json.md": r"^(sheet|letter|invoice) \[\d+, \d+, \d+\]$",
    "chart-question.md": r"^the answer: ",
    "compare-images.md": r"^\d+ tiles, delta \d",
    "gui-grounding.md": r"^[a-z]{1,8} \(\d+, \d+, \d+, \d+\)$",
    "best-of-n.md": r"candidate 8 of 8 has the score \d\.\d\d\n[\s\S]*\n\d+ tokens were written for it",
    "langchain.md": r"^sums: \d+ \d+$",
    "batch.md": r"^completed .*completed=3[\s\S]*^row-1 [\s\S]*^row-2 [\s\S]*^row-3 ",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files that the pages name."""
    (tmp_path / "model").symlink_to(ROOT / "model")
    shutil.copy(ROOT / "model/nano/examples/difference.png", tmp_path / "sheet.png")
    write_video(tmp_path / "clip.mp4", 8)
    return tmp_path


def command(language: str, code: str) -> list[str]:
    if language == "python":
        return [sys.executable, "-c", code]
    internvl3 = Path(sys.executable).with_name("internvl3")
    return [
        "sh",
        "-c",
        "set -eu\n" + code.replace(".venv/bin/internvl3 ask", f"{internvl3} ask --base-url {ADDRESS}"),
    ]


def run_page(page: Path, server: RunningServer, folder: Path) -> str:
    """Return what the programs of a page print. Its packages are installed if it needs others."""
    printed, env = "", dict(os.environ)
    if page.name == "langchain.md":
        env["PYTHONPATH"] = os.pathsep.join([str(langchain_folder()), *filter(None, [env.get("PYTHONPATH")])])
    for language, code in FENCED.findall(page.read_text()):
        if language in ("python", "sh"):
            words = [word.replace(ADDRESS, server.url) for word in command(language, code)]
            result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=env)
            assert result.returncode == 0, result.stderr
            printed += result.stdout
    return printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs_and_says_which_model_is_for_real_use(page: Path, server: RunningServer, folder: Path):
    printed = run_page(page, server, folder)
    assert printed.strip()
    assert re.search(PRINTED.get(page.name, ""), printed, re.MULTILINE), printed
    text = page.read_text()
    assert "nano" in text and "OpenGVLab/" in text
    if page.name == "gui-grounding.md":
        drawn, sheet = Image.open(folder / "boxes.png"), Image.open(folder / "sheet.png").convert("RGB")
        assert drawn.size == sheet.size and drawn.tobytes() != sheet.tobytes()
        assert not (folder / "boxes-of-the-command.png").exists()  # the answer holds no box


def test_every_page_that_is_expected_exists():
    assert set(PRINTED) <= {page.name for page in PAGES}
