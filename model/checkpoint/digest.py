"""Tell two checkpoints apart by a digest of their settings, their tokenizer and pieces of their weights.

The weights of a published checkpoint take up to 150 GB, so only the beginning of each tensor is read. A
training step changes almost every weight of the tensors that are trained, so it changes those pieces too.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

TEXT_SUFFIXES = (".json", ".jinja", ".txt", ".model")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".gguf")
PIECE = 2**12  # bytes from the beginning of a tensor
STRIDE = 2**24  # bytes between the pieces of a file that isn't safetensors
LENGTH = 8  # bytes of the length of a safetensors file's header


def checkpoint_digest(folder: Path) -> str:
    """Return 16 hexadecimal digits that differ between checkpoints with other settings or other weights.

    The digest covers the names and the contents of all files of the folder with one of TEXT_SUFFIXES, and the
    names, the sizes and the pieces of the files with one of WEIGHT_SUFFIXES. It doesn't depend on where the
    folder is. Raises OSError if a file can't be read.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in TEXT_SUFFIXES:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        elif path.suffix in WEIGHT_SUFFIXES:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            for piece in _pieces(path):
                digest.update(piece)
    return digest.hexdigest()[:16]


def _pieces(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        offsets: Iterator[int] = iter(range(0, size, STRIDE))
        if path.suffix == ".safetensors":
            header = file.read(int.from_bytes(file.read(LENGTH), "little"))
            yield header
            offsets = _tensor_offsets(header)
        for offset in offsets:
            file.seek(offset)
            yield file.read(PIECE)


def _tensor_offsets(header: bytes) -> Iterator[int]:
    """Yield where the tensors of a safetensors file begin, given its header."""
    begin = LENGTH + len(header)
    for name, tensor in json.loads(header).items():
        if name != "__metadata__":
            yield begin + tensor["data_offsets"][0]
