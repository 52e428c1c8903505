"""Several files read as one."""

import io
import os
import random
from pathlib import Path

import pytest

from ttscaling.train.fetch.joined_files import JoinedFiles


def test_it_reads_as_the_joined_bytes_do(tmp_path: Path) -> None:
    rng = random.Random(1)
    parts = [rng.randbytes(size) for size in (100, 0, 1, 4097, 33)]
    for number, part in enumerate(parts):
        (tmp_path / str(number)).write_bytes(part)
    expected = io.BytesIO(b"".join(parts))
    with JoinedFiles([tmp_path / str(number) for number in range(5)]) as ours:
        buffered = io.BufferedReader(ours, 64)
        for _ in range(500):
            whence = rng.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])
            offset = {os.SEEK_SET: rng.randrange(4300), os.SEEK_CUR: rng.randrange(50)}.get(
                whence, -rng.randrange(4231)
            )
            assert buffered.seek(offset, whence) == expected.seek(offset, whence)
            count = rng.choice([1, 10, 500, -1])
            assert buffered.read(count) == expected.read(count)
            assert buffered.tell() == expected.tell()
        with pytest.raises(ValueError, match="before the begin"):
            ours.seek(-1)


def test_a_missing_part_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        JoinedFiles([tmp_path / "images.zip_aa"])
