"""The reference model's log-probabilities of preference pairs, computed once and kept by draw.

A draw's number fixes its tokens, deltas and JPEG quality, so a second pass over the same mixture meets the
very inputs that the reference saw. Each process writes a file of its own draws.
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
    """Write (draw number, log p of the chosen, of the rejected response); returns how many.

    `identity` is what they hold for: `Mixture.identity` and whatever else the inputs depend on, as JSON.
    """
    values = ({"draw": draw, "chosen": chosen, "rejected": rejected} for draw, chosen, rejected in rows)
    return write_records(path, _headed(identity, values)) - 1


class References:
    """Log-probabilities by draw, from the files of all processes.

    Raises:
        ValueError: a file was made for other data or another preparation, or a line of it is damaged.
        OSError: a file can't be read.
    """

    def __init__(self, paths: Sequence[Path], identity: Mapping[str, Any]):
        rows: list[tuple[int, float, float]] = []
        for path in paths:
            file = LineFile(path)
            header = file.record(0, dict) if len(file) else {}
            if header.get("identity") != json.loads(json.dumps(identity)):
                raise ValueError(f"{path} holds references of other data or settings: compute them again")
            rows += (file.record(index, _row) for index in range(1, len(file)))
        rows.sort()
        self._draw = np.array([draw for draw, _, _ in rows], dtype=np.int64)
        self._values = torch.tensor([values for _, *values in rows], dtype=torch.float64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._draw)

    def for_draws(self, draws: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """float32 log-probabilities (P,) of the chosen and of the rejected responses of these draws.

        Raises:
            ValueError: one has none; the message names it.
        """
        wanted = np.array(draws, dtype=np.int64)
        at = np.searchsorted(self._draw, wanted)
        missing = [
            draw
            for draw, index in zip(draws, at, strict=True)
            if index == len(self._draw) or self._draw[index] != draw
        ]
        if missing:
            raise ValueError(f"no reference for draw {missing[0]}: compute the references of the whole run")
        values_P2 = self._values[torch.from_numpy(at)].float()
        return values_P2[:, 0], values_P2[:, 1]


def _headed(identity: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    yield {"identity": dict(identity)}
    yield from rows


def _row(data: Mapping[str, Any]) -> tuple[int, float, float]:
    try:
        return int(data["draw"]), float(data["chosen"]), float(data["rejected"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"not a reference ({error!r}): compute the references again") from error
