"""The README and the pages of docs/ name only what exists: links, commands, settings, folders, files."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from clients.cli import SUB_COMMANDS, load
from server.errors import INVALID
from server.media.budget import CODES as CODES_OF_LIMITS
from server.media.failures import CODES
from server.settings import Settings, default_text, settings_groups

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "model/nano/README.md", *DOCS.rglob("*.md")]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\S\n)+")
INLINE = re.compile(r"`([^`]+)`")
PACKAGES = ("model", "server", "ttscaling", "clients", "bench")
FOLDERS = (*PACKAGES, "tests", "docs", "requirements", "recipes")
FLAGS_OF_OTHERS = {"--no-deps", "--help"}  # pip's; and --help, which all commands have


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return FENCED.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language in a page."""
    return [code for name, code in FENCED.findall(page.read_text()) if name == language]


def code_spans(page: Path) -> list[str]:
    """What stands in backticks in a page, each in one line."""
    return [" ".join(span.split()) for span in INLINE.findall(INDENTED.sub("", prose(page)))]


def shell_lines(page: Path) -> list[str]:
    """Every command line of a page: of its sh blocks, its indented blocks and its code spans."""
    code = "\n".join((*blocks(page, "sh"), *INDENTED.findall(prose(page))))
    lines = re.sub(r"\\\n\s*", " ", code).splitlines()
    return [line.strip() for line in (*lines, *code_spans(page))]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """The relative links of a page, images included."""
    found = re.findall(r"\]\(([^)\s]+)\)", INLINE.sub("", prose(page)))
    return [link for link in found if "://" not in link]


def is_broken(page: Path, link: str) -> bool:
    """Whether a link of a page leads to no file, or to no heading of it."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return not target.exists() or bool(anchor and anchor not in anchors(target))


@cache
def top_command(name: str) -> Any:
    """The click command behind `internvl3 NAME`."""
    return load(SUB_COMMANDS[name].target)


def flags(command: Any) -> set[str]:
    """The flags of a click command, `--no-...` included."""
    return {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}


def all_flags(command: Any) -> set[str]:
    """The flags of a command and of all its sub-commands."""
    below = getattr(command, "commands", {}).values()
    return flags(command).union(*(all_flags(one) for one in below))


def faults_of_command(line: str) -> Iterator[str]:
    """The words of an `internvl3 ...` line that name no command and no flag. A word in CAPITALS passes."""
    words = shlex.split(line, comments=True)[1:]
    if not words or words[0].startswith("-"):
        return
    if words[0] not in SUB_COMMANDS:
        yield words[0]
        return
    command, given = top_command(words[0]), words[1:]
    while getattr(command, "commands", None) and given and not given[0].startswith("-"):
        name, *given = given
        if name.isupper():
            return
        if name not in command.commands:
            yield name
            return
        command = command.commands[name]
    written = {word.partition("=")[0] for word in given if word.startswith("--") and " " not in word}
    yield from written - flags(command) - FLAGS_OF_OTHERS


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_links_lead_to_files_and_headings() -> None:
    assert [f"{page.name}: {link}" for page in PAGES for link in links(page) if is_broken(page, link)] == []


def test_the_index_lists_every_page() -> None:
    pages = {
        str(page.relative_to(DOCS))
        for page in DOCS.rglob("*.md")
        if page.parent.name in ("docs", "results", "cookbook")
    }
    listed = {
        link for link in links(DOCS / "README.md") if link.endswith(".md") and not link.startswith("..")
    }
    assert listed == pages - {"README.md"}


def test_settings_are_those_of_the_server() -> None:
    """Every group with flag, default and description of each of its settings, word for word."""
    lines = []
    for group in settings_groups():
        lines.append(f"## {group.title}")
        for name in group.model_fields:
            text = default_text(name)
            default = f"`{text}` " if text else ""
            meaning = (Settings.model_fields[name].description or "").rstrip(".")
            lines.append(f"| `--{name.replace('_', '-')}` | {default}| {meaning[:1].lower()}{meaning[1:]} |")
    page = (DOCS / "settings.md").read_text()
    assert re.findall(r"^(?:\| `--|## ).*$", page, re.MULTILINE) == lines


def test_error_codes_are_those_of_the_server() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
    constants = dict(re.findall(r'^([A-Z_]+) = "(\w+)"', sources, re.MULTILINE))
    named = {constants[name] for name in re.findall(r"\bcode=([A-Z_]+)\b", sources) if name in constants}
    of_media = {code.replace("KIND", kind) for code in CODES.values() for kind in ("image", "video")}
    codes = {*re.findall(r'code="(\w+)"', sources), *named, *CODES_OF_LIMITS.values(), *of_media, INVALID}
    cells = re.findall(r"^\| \d.*\|(.*)\|$", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert set(INLINE.findall("".join(cells))) == codes


def test_make_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for page in PAGES for line in shell_lines(page)]
    named = {name for line in lines for name in re.findall(r"(?:^|`)make ([a-z]+)", line)}
    assert {"demo", "test", "serve"} <= named <= targets


def test_commands_and_their_flags_exist() -> None:
    found = []
    for page in PAGES:
        for line in shell_lines(page):
            line = re.sub(r"^accelerate launch .*-m ttscaling\.train ", "internvl3 train ", line)
            if re.match(r"(\.venv/bin/)?internvl3 ", line):
                found += [f"{page.name}: {word} in {line!r}" for word in faults_of_command(line)]
    assert found == []


def test_flags_that_stand_alone_exist() -> None:
    """In the decisions flags of vLLM stand alone, too, so these are left out."""
    known = FLAGS_OF_OTHERS.union(*(all_flags(top_command(name)) for name in SUB_COMMANDS))
    found = [
        f"{page.name}: {span}"
        for page in PAGES
        if page.parent.name != "decisions"
        for span in code_spans(page)
        if span.startswith("--") and re.split("[ =]", span)[0] not in known
    ]
    assert found == []


def test_files_that_pages_name_exist() -> None:
    found = [
        f"{page.name}: {span}"
        for page in PAGES
        for span in code_spans(page)
        if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./*-]+", span) and not any(ROOT.glob(span.rstrip("/")))
    ]
    assert found == []


def test_the_folders_of_the_architecture_are_those_of_the_packages() -> None:
    (tree,) = blocks(DOCS / "architecture.md", "text")
    listed, path = set(), Path()
    for line in tree.splitlines():
        name = line.split()[0].rstrip("/")
        depth = (len(line) - len(line.lstrip())) // 2
        path = Path(*path.parts[:depth], name)
        listed.add(path.as_posix())
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert listed == {"tests", *(file.parent.relative_to(ROOT).as_posix() for file in files)}


def test_python_examples_compile() -> None:
    for page in PAGES:
        for block in blocks(page, "python"):
            compile(block, page.name, "exec")


def test_shell_examples_parse() -> None:
    for page in PAGES:
        for block in blocks(page, "sh"):
            subprocess.run(["sh", "-n", "-c", block], check=True)


def test_json_examples_parse() -> None:
    for page in PAGES:
        for block in blocks(page, "json"):
            json.loads(block)
