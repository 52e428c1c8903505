"""Write scalars in TensorBoard's file format, without its package and the eight that it needs.

A file is a sequence of records. A record is a length, the checksum of the length, an `Event` message and the
checksum of the message. Sources: tensorflow's `event.proto`, `summary.proto` and `record_writer.cc`; CRC-32C
is from RFC 3720.
"""

import struct
from collections.abc import Mapping
from typing import BinaryIO

_VERSION = b"brain.Event:2"
_CASTAGNOLI = 0x82F63B78
_MASK = 0xA282EAD8


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)
        entries.append(byte)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of the bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def write_header(file: BinaryIO, time: float) -> None:
    """Write the first record of a file. `time` is in seconds since 1970."""
    file.write(record(_double(1, time) + _bytes(3, _VERSION)))


def write_scalars(file: BinaryIO, time: float, step: int, scalars: Mapping[str, float]) -> None:
    """Write the scalars of a step by their names. `time` is in seconds since 1970."""
    values = b"".join(
        _bytes(1, _bytes(1, name.encode()) + b"\x15" + struct.pack("<f", value))
        for name, value in scalars.items()
    )
    file.write(record(_double(1, time) + b"\x10" + _varint(step) + _bytes(5, values)))


def record(data: bytes) -> bytes:
    """Return a serialised `Event` with its length and the two checksums."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)


def _double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = []
    while True:
        value, low = value >> 7, value & 0x7F
        groups.append(low | 0x80 if value else low)
        if not value:
            return bytes(groups)
