"""The log of a run and its TensorBoard file."""

import io
import json
import struct
from pathlib import Path

import pytest

from ttscaling.train.run.event_file import crc32c, write_header, write_scalars
from ttscaling.train.run.logs import Logs

# TensorBoard's own writer makes these bytes of the same scalars:
#   file = io.BytesIO(); writer = RecordWriter(file)    # tensorboard.summary.writer.record_writer
#   writer.write(Event(wall_time=1.5, file_version="brain.Event:2").SerializeToString())
#   values = [Summary.Value(tag="loss", simple_value=0.25), Summary.Value(tag="rate", simple_value=1e-05)]
#   writer.write(Event(wall_time=2.5, step=300, summary=Summary(value=values)).SerializeToString())
GOLDEN = (
    "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c"
    "2800000000000000ff70164a09000000000000044010ac022a1a0a0b0a046c6f7373150000803e0a0b0a04726174"
    "6515acc527371c9d5b77"
)


def test_the_bytes_are_those_of_tensorboard_s_writer() -> None:
    file = io.BytesIO()
    write_header(file, 1.5)
    write_scalars(file, 2.5, 300, {"loss": 0.25, "rate": 1e-5})
    assert file.getvalue().hex() == GOLDEN


@pytest.mark.parametrize(
    ("data", "expected"), [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)]
)
def test_the_checksum_is_rfc_3720_s(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def records(path: Path) -> list[bytes]:
    """Return the `Event` messages of a file."""
    content, events = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        events.append(content[12 : 12 + length])
        content = content[16 + length :]
    return events


def test_a_resumed_run_removes_the_figures_of_later_steps(tmp_path: Path) -> None:
    with Logs(tmp_path, title="sft", total=4) as logs:
        logs.begin(0)
        for step in (1, 2, 3):
            logs.step(step, {"loss": 1 / step, "tokens": 10 * step})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # as if the process was killed while it wrote
    with Logs(tmp_path, title="sft", total=4) as logs:
        logs.begin(2)
        logs.step(3, {"loss": 7, "tokens": 30})
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 0.5), (3, 7)]
    (events,) = (tmp_path / "tensorboard").iterdir()
    header, *steps = records(events)
    assert b"brain.Event:2" in header
    assert [record[10] for record in steps] == [1, 2, 3]
    assert struct.pack("<f", 7) in steps[-1] and b"tokens" in steps[-1]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with Logs(None, title="sft", total=None) as logs:
        logs.begin(0)
        logs.step(1, {"loss": 1, "tokens": 1})
    assert not list(tmp_path.iterdir())
