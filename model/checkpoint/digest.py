"""Tell two checkpoints apart by a digest of their settings, their tokenizer and pieces of their weights.

The weights of a published checkpoint take up to 150 GB, so only a piece of each mebibyte is read. A training
step changes almost every weight, so it changes those pieces too.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

TEXT_SUFFIXES = (".json", ".jinja", ".txt", ".model")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".gguf")
STRIDE = 2**20  # A piece begins at every multiple of this offset. The first holds a safetensors file's names.
PIECE = 2**12  # bytes


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
    with path.open("rb", buffering=0) as file:
        for offset in range(0, path.stat().st_size, STRIDE):
            file.seek(offset)
            yield file.read(PIECE)
