"""The README cannot rot: its commands exist, its settings are the server's."""

import re
import subprocess
from pathlib import Path

from server.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_make_commands_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)", README)) | set(
        re.findall(r"^make ([a-z]+)", README, re.MULTILINE)
    )
    assert {"demo", "test", "serve"} <= named <= targets


def test_settings_are_those_of_the_server():
    """Flag, default and description of every setting, word for word."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "", ()) else f"`{field.default}` "
        meaning = (field.description or "").rstrip(".")
        rows.append(f"| `--{name.replace('_', '-')}` | {default}| {meaning[:1].lower()}{meaning[1:]} |")
    assert re.findall(r"^\| `--.*$", README, flags=re.MULTILINE) == rows


def test_python_examples_compile():
    assert code_blocks("python")
    for block in code_blocks("python"):
        compile(block, "README.md", "exec")


def test_shell_examples_parse():
    for block in code_blocks("sh"):
        subprocess.run(["sh", "-n", "-c", block], check=True)


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
