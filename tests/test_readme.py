"""The README cannot rot: its tree is the repository, its commands exist, its settings are the server's."""

import re
import subprocess
from pathlib import Path

from server.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PACKAGES = ("server", "model", "ttscaling", "clients", "bench")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def tree() -> list[str]:
    """The paths of the file tree: one per line, two spaces a level, folders end in a slash."""
    (block,) = code_blocks("tree")
    folders: list[str] = []
    paths = []
    for line in block.splitlines():
        indent, name = re.fullmatch(r"((?:  )*)(\S+)(?:  .*)?", line).groups()  # type: ignore[union-attr]
        folders = folders[: len(indent) // 2]
        paths.append("".join([*folders, name]))
        if name.endswith("/"):
            folders.append(name)
    return paths


def test_every_module_is_in_the_tree():
    modules = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if file.name != "__init__.py"
    }
    assert modules - set(tree()) == set()


def test_everything_in_the_tree_exists():
    assert [path for path in tree() if not (ROOT / path).exists()] == []


def test_every_line_of_the_tree_says_something():
    (block,) = code_blocks("tree")
    assert [line for line in block.splitlines() if len(line.split()) < 3] == []


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
