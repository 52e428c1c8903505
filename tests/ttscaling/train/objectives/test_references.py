"""Reference log-probabilities are kept by draw and belong to the data they were computed on."""

from pathlib import Path

import pytest
import torch

from ttscaling.train.objectives.references import References, append_references

IDENTITY = {"seed": 1, "sources": [{"name": "a", "length": 3, "weight": 1.0}]}


def test_values_of_all_processes_come_back_by_draw(tmp_path: Path) -> None:
    even, odd = tmp_path / "0.jsonl", tmp_path / "1.jsonl"
    append_references(even, [(4, -1.25, -2.5)], IDENTITY)
    append_references(even, [(0, -1 / 3, -7.0)], IDENTITY)
    append_references(odd, [(1, -3.0, -4.0), (4, -1.25, -2.5)], IDENTITY)
    references = References([even, odd], IDENTITY)
    chosen_P, rejected_P = references.for_draws([1, 0, 4, 1])
    torch.testing.assert_close(chosen_P, torch.tensor([-3.0, -1 / 3, -1.25, -3.0]))
    torch.testing.assert_close(rejected_P, torch.tensor([-4.0, -7.0, -2.5, -4.0]))
    assert len(references) == 3


@pytest.mark.parametrize("draw", [2, 5])
def test_a_draw_without_a_reference_is_named(tmp_path: Path, draw: int) -> None:
    append_references(tmp_path / "0.jsonl", [(0, -1.0, -1.0), (4, -1.0, -1.0)], IDENTITY)
    with pytest.raises(ValueError, match=f"no reference for draw {draw}"):
        References([tmp_path / "0.jsonl"], IDENTITY).for_draws([0, draw])


def test_references_of_other_data_are_refused(tmp_path: Path) -> None:
    append_references(tmp_path / "0.jsonl", [(0, -1.0, -1.0)], IDENTITY)
    with pytest.raises(ValueError, match="of other data or settings"):
        References([tmp_path / "0.jsonl"], {**IDENTITY, "seed": 2})


@pytest.mark.parametrize("content", ["text\n", '{"draw": 1}\n', "[]\n"])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "0.jsonl").write_text(content)
    with pytest.raises(ValueError, match="of other data or settings"):
        References([tmp_path / "0.jsonl"], IDENTITY)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    append_references(path, [(0, -1.0, -1.0)], IDENTITY)
    with path.open("a") as file:
        file.write('{"draw": 1, "chosen": -1.0}\n')
    with pytest.raises(ValueError, match=r"0\.jsonl:3: not a reference"):
        References([path], IDENTITY)


def test_half_a_line_of_a_killed_process_does_not_count(tmp_path: Path) -> None:
    path, empty = tmp_path / "0.jsonl", tmp_path / "1.jsonl"
    append_references(path, [(0, -1.0, -2.0)], IDENTITY)
    complete = path.read_bytes()
    for cut in range(1, 30):
        append_references(path, [(1, -3.0, -4.0)], IDENTITY)
        path.write_bytes(path.read_bytes()[:-cut])
        empty.write_bytes(complete[:cut])
        assert len(References([path, empty], IDENTITY)) == 1
        append_references(path, [(2, -5.0, -6.0)], IDENTITY)
        assert [len(line) > 2 for line in path.read_bytes().splitlines()] == [True] * 3
        chosen_P, _ = References([path], IDENTITY).for_draws([0, 2])
        assert chosen_P.tolist() == [-1.0, -5.0]
        path.write_bytes(complete)
