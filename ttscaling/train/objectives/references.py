"""Files with the reference model's log-probabilities of preference pairs, kept by their draw.

The number of a draw fixes its tokens, its deltas and its JPEG quality. So a second pass over the same mixture
has the same inputs as the reference had. Each process writes one file with its draws.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ttscaling.records.bad_records import RecordError
from ttscaling.records.jsonl import LineFile, write_records


def write_references(
    path: Path, rows: Iterable[tuple[int, float, float]], identity: Mapping[str, Any]
) -> int:
    """Write the references of draws into a file, and return the number of draws.

    Args:
        path: the file.
        rows: for each draw its number, and log p of the chosen and of the rejected response.
        identity: all that the inputs depend on, as JSON: `Mixture.identity` and the preparation.
    """
    values = ({"draw": draw, "chosen": chosen, "rejected": rejected} for draw, chosen, rejected in rows)
    return write_records(path, _with_header(identity, values)) - 1


class References:
    """The reference's log-probabilities by draw, from the files of all processes.

    Raises:
        ValueError: a file belongs to other data or another preparation, or one of its lines is damaged.
        OSError: a file can't be read.
    """

    def __init__(self, paths: Sequence[Path], identity: Mapping[str, Any]):
        rows: list[tuple[int, float, float]] = []
        for path in paths:
            file = LineFile(path)
            header = file.record(0, dict) if len(file) else {}
            if header.get("identity") != json.loads(json.dumps(identity)):
                raise ValueError(
                    f"{path} holds references of other data or settings: remove its folder, and they are "
                    "computed again"
                )
            rows += (file.record(index, _row) for index in range(1, len(file)))
        rows.sort()
        self._draw = np.array([draw for draw, _, _ in rows], dtype=np.int64)
        self._values = torch.tensor([values for _, *values in rows], dtype=torch.float64).reshape(-1, 2)

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


def _with_header(
    identity: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]
) -> Iterable[Mapping[str, Any]]:
    yield {"identity": dict(identity)}
    yield from rows


def _row(data: Mapping[str, Any]) -> tuple[int, float, float]:
    try:
        return int(data["draw"]), float(data["chosen"]), float(data["rejected"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"not a reference ({error!r}): remove the folder, and all are computed again"
        ) from error
