"""Ask a running server for the critic's scores of solutions whose steps people marked."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttscaling.asking.address import Address
from ttscaling.asking.client import Refused, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import run_concurrently
from ttscaling.asking.results_file import SERVER, ResultsFile
from ttscaling.asking.server_setup import critic_name, server_setup
from ttscaling.asking.user_message import user_message
from ttscaling.records.bad_records import BadRecords, RecordError
from ttscaling.records.jsonl import LineFile
from ttscaling.records.marked_steps import MarkedRecord, parse_marked
from ttscaling.records.media_paths import media_path


@dataclass(frozen=True)
class ScoredSolution:
    """A solution with the marks that people gave its steps (1, -1 or 0) and the critic's scores of them."""

    source: str
    marks: tuple[int, ...]
    scores: tuple[float, ...]
    critic: str


class CannotScore(Exception):
    """The critic can't score this solution; it may score others."""


async def score_file(
    file: Path,
    root: Path,
    address: Address,
    bad_records: BadRecords,
    *,
    scores: Path | None,
    concurrency: int,
) -> list[ScoredSolution]:
    """Return every usable solution of a file with the critic's scores, in the order of the file.

    Paths of images are relative to `root`. The results file `scores` keeps the scores. `bad_records` counts
    the solutions that can't be used. Raises CommandError, TooManyBadRecordsError and OSError.
    """
    lines, solutions = LineFile(file), dict[int, ScoredSolution]()
    async with connected(address) as server:
        setup = await server_setup(server)
        critic_name(setup)
        # The policy answers nothing here, so another one may be served when the run goes on.
        scorer = {name: setup[name] for name in ("version", "critic")}
        identity = {"file": hashlib.sha256(file.read_bytes()).hexdigest(), SERVER: scorer}
        with ResultsFile(scores, identity) as results:
            row_of = {row["line"]: row for row in results.rows}

            async def work(number: int) -> None:
                try:
                    record = lines.record(number, parse_marked)
                    if number not in row_of:
                        row_of[number] = {"line": number, **await score(server, record, root)}
                        results.add(row_of[number])
                except RecordError as error:
                    bad_records.reject(str(error))
                except CannotScore as error:
                    bad_records.reject(f"{lines.where(number)}: {error}")
                else:
                    bad_records.accept()
                    row = row_of[number]
                    solutions[number] = ScoredSolution(
                        record.data_source or "unknown", record.marks, tuple(row["scores"]), row["critic"]
                    )

            await run_concurrently(
                range(len(lines)), work, total=len(lines), concurrency=concurrency, label="solutions"
            )
    bad_records.check_share()
    return [solutions[number] for number in sorted(solutions)]


async def score(server: ServerClient, record: MarkedRecord, root: Path) -> dict[str, Any]:
    """Return the critic's name and its score of each step, as a row of the results file.

    Raises CannotScore if this solution can't be scored, and CommandError if none can be.
    """
    try:
        message = user_message(record.question, [media_path(root, image) for image in record.images])
    except RecordError as error:
        raise CannotScore(str(error)) from error
    body = {"messages": [message], "answers": [list(record.steps)]}
    try:
        critic, scores = await reply_of(
            server, "/v1/critic/score", body, _read_scores, expected="step scores"
        )
    except Refused as error:
        raise CannotScore(str(error)) from error
    if len(scores) != len(record.steps):
        raise CannotScore(f"the critic returned {len(scores)} scores for {len(record.steps)} steps")
    return {"critic": critic, "scores": scores}


def _read_scores(reply: Mapping[str, Any]) -> tuple[str, list[float]]:
    (entry,) = reply["scores"]
    if entry.get("error"):
        raise CannotScore(f"the critic failed: {entry['error']}")
    return str(reply["model"]), [float(value) for value in entry["step_scores"]]
