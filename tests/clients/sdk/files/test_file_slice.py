"""A slice reads its part of a file, may begin anew, and reports progress of the whole file."""

import io

from clients.sdk.files.file_slice import FileSlice


def test_a_slice_is_a_file_of_its_own() -> None:
    reports: list[tuple[int, int]] = []
    part = FileSlice(
        io.BytesIO(b"0123456789"),
        4,
        5,
        total=10,
        on_progress=lambda sent, total: reports.append((sent, total)),
    )
    assert part.seek(0, io.SEEK_END) == 5 and part.seek(0) == 0
    assert [part.read(3), part.read(3), part.read(3)] == [b"456", b"78", b""]
    assert reports == [(7, 10), (9, 10)]
    part.seek(1)
    assert (part.tell(), part.read()) == (1, b"5678")


def test_slices_of_one_file_do_not_disturb_each_other() -> None:
    file = io.BytesIO(b"abcdef")
    first, second = FileSlice(file, 0, 3, total=6), FileSlice(file, 3, 3, total=6)
    assert [first.read(2), second.read(2), first.read(2), second.read(2)] == [b"ab", b"de", b"c", b"f"]
