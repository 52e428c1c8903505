from pathlib import Path

import pytest

from ttscaling.console import CommandError
from ttscaling.reports.markdown import interval, table, write_block


def test_a_block_is_replaced_and_other_lines_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n<!-- a -->\nold\n<!-- end of a -->\n\nBetween.\n\n<!-- b -->\n<!-- end of b -->\n"
    )
    write_block(page, "b", ["new b"])
    write_block(page, "a", ["new", "lines"])
    assert page.read_text() == (
        "# Title\n\n<!-- a -->\nnew\nlines\n<!-- end of a -->\n\nBetween.\n\n"
        "<!-- b -->\nnew b\n<!-- end of b -->\n"
    )


def test_a_missing_page_is_created_and_missing_blocks_are_added_at_its_end(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"
    write_block(page, "a", ["one"])
    write_block(page, "b", ["two"])
    write_block(page, "a", ["three"])
    assert page.read_text() == "<!-- a -->\nthree\n<!-- end of a -->\n\n<!-- b -->\ntwo\n<!-- end of b -->\n"


def test_a_block_without_an_end_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- a -->\nold\n")
    with pytest.raises(CommandError, match="no <!-- end of a -->"):
        write_block(page, "a", ["new"])
    assert page.read_text() == "<!-- a -->\nold\n"


def test_a_table_and_its_cells() -> None:
    cell = interval({"accuracy": 0.8349, "low": 0.8, "high": 0.9}, "accuracy")
    assert cell == "83.5 (80.0 to 90.0)"
    assert interval({"d": -0.01, "low": -0.02, "high": 0.0}, "d", sign="+") == "-1.0 (-2.0 to +0.0)"
    assert table(["N", "critic"], [["8", cell]]) == ["| N | critic |", "| --- | ---: |", f"| 8 | {cell} |"]
