"""Every file says in a true first sentence what it is about, and names are no bare participles."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contents import ROOT, contents, product_files

LONGEST = 105  # characters, so that the sentence fits on the docstring's first line
MOST_LINES = 250
# A participle says that something happened to something, and leaves open what it is.
PARTICIPLES = {
    "told",
    "said",
    "asked",
    "seen",
    "made",
    "taught",
    "done",
    "spent",
    "judged",
    "wanted",
    "given",
}


def names_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a file defines or assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr


def test_every_file_begins_with_a_sentence():
    for path, sentence in contents().items():
        assert re.fullmatch(r"[\w`\"].*[.]", sentence), f"{path}: {sentence!r} is no sentence"
        assert len(sentence) <= LONGEST, f"{path}: {sentence!r} is longer than {LONGEST} characters"
        assert len(sentence.split()) >= 3, f"{path}: {sentence!r} says too little"


def test_no_two_files_are_about_the_same():
    sentences = list(contents().values())
    assert sorted(sentences) == sorted(set(sentences))


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX"])
def test_nothing_is_left_for_later(word: str):
    files = [*product_files(), *(ROOT / "tests").rglob("*.py"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    files += [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    assert [str(file) for file in files if file != Path(__file__) and word in file.read_text()] == []


def test_no_name_is_a_bare_participle():
    found = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in product_files()
        for line, name in names_of(ast.parse(file.read_text()))
        if name.strip("_") in PARTICIPLES
    ]
    assert found == []


def test_folders_of_tests_are_those_of_the_packages():
    """tests/server/media holds the tests of server/media, and so on."""
    folders = {file.parent.relative_to(ROOT / "tests") for file in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in folders if not (ROOT / folder).is_dir()] == []


def test_files_are_short():
    long = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in product_files()}
    assert {path: lines for path, lines in long.items() if lines > MOST_LINES} == {}
