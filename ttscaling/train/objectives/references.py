"""Files with the reference model's log-probabilities of preference pairs, kept by their draw.

The number of a draw fixes its tokens, its deltas and its JPEG quality. So a second pass over the same mixture
has the same inputs as the reference had. Each process has a file with its draws and adds to it. The values of
a draw may stand in several files, because a pass that was cut off repeats its last step.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

_ROW = np.dtype([("draw", np.int64), ("chosen", np.float64), ("rejected", np.float64)])


def append_references(
    path: Path, rows: Iterable[tuple[int, float, float]], identity: Mapping[str, Any]
) -> None:
    """Add the references of draws to a file, which is created if it isn't there.

    Half a line at the end of the file, which a killed process left, is removed.

    Args:
        path: the file.
        rows: for each draw its number, and log p of the chosen and of the rejected response.
        identity: all that the inputs depend on, as JSON: `Mixture.identity` and the preparation.

    Raises:
        OSError: the file can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.truncate(_end_of_last_line(path))
        if file.seek(0, os.SEEK_END) == 0:
            file.write(_line({"identity": dict(identity)}))
        for draw, chosen, rejected in rows:
            file.write(_line({"draw": draw, "chosen": chosen, "rejected": rejected}))
        file.flush()
        os.fsync(file.fileno())


class References:
    """The reference's log-probabilities by draw, from the files of all processes.

    Half a line at the end of a file is left out.

    Raises:
        ValueError: a file belongs to other data or another preparation, or one of its lines is damaged.
        OSError: a file can't be read.
    """

    def __init__(self, paths: Sequence[Path], identity: Mapping[str, Any]):
        rows_N = np.concatenate([np.empty(0, _ROW), *(_rows(path, identity) for path in paths)])
        self._draw, index = np.unique(rows_N["draw"], return_index=True)
        values_N2 = np.stack([rows_N["chosen"][index], rows_N["rejected"][index]], axis=1)
        self._values = torch.from_numpy(values_N2)

    def __len__(self) -> int:
        return len(self._draw)

    def for_draws(self, draws: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probabilities of the chosen and of the rejected responses, float32 (P,) each.

        Raises:
            ValueError: a draw has no reference; the message names the draw.
        """
        index_P = np.searchsorted(self._draw, np.array(draws, dtype=np.int64))
        missing = [
            draw
            for draw, index in zip(draws, index_P, strict=True)
            if index == len(self._draw) or self._draw[index] != draw
        ]
        if missing:
            raise ValueError(f"no reference for draw {missing[0]}: compute the references of all draws")
        values_P2 = self._values[torch.from_numpy(index_P)].float()
        return values_P2[:, 0], values_P2[:, 1]


def _rows(path: Path, identity: Mapping[str, Any]) -> np.ndarray:
    """Return the rows of a file as an array of `_ROW`."""
    with path.open("rb") as file:
        header = file.readline()
        if not header.endswith(b"\n"):  # A process was killed before it wrote anything.
            return np.empty(0, _ROW)
        if _identity(header) != json.loads(json.dumps(identity)):
            raise ValueError(
                f"{path} holds references of other data or settings: remove its folder, and they are "
                "computed again"
            )
        return np.fromiter(_parsed(file, path), _ROW)


def _parsed(lines: Iterable[bytes], path: Path) -> Iterator[tuple[int, float, float]]:
    for number, line in enumerate(lines, start=2):
        if not line.endswith(b"\n"):
            return
        try:
            row = json.loads(line)
            yield int(row["draw"]), float(row["chosen"]), float(row["rejected"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}:{number}: not a reference ({error!r}): remove the folder, and all are computed again"
            ) from error


def _identity(header: bytes) -> Any:
    try:
        return json.loads(header)["identity"]
    except (KeyError, TypeError, ValueError):
        return None


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _end_of_last_line(path: Path) -> int:
    """Return how many bytes of a file are complete lines."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = size
        while begin > 0:
            begin, end = max(0, begin - 4096), begin
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
    return 0
