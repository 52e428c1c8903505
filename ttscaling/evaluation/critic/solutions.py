"""Solutions whose steps people marked, scored by the critic that a server holds."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttscaling.asking.client import Refused, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import run_concurrently
from ttscaling.asking.results_file import ResultsFile
from ttscaling.asking.user_message import user_message
from ttscaling.records.bad_records import BadRecords, RecordError
from ttscaling.records.jsonl import LineFile
from ttscaling.records.marked_steps import MarkedRecord, parse_marked
from ttscaling.records.media_paths import media_path


@dataclass(frozen=True)
class ScoredSolution:
    """A solution's steps as people marked them and as the critic scored them."""

    source: str
    marks: tuple[int, ...]
    scores: tuple[float, ...]
    critic: str


class CannotScore(Exception):
    """The critic can't score this solution; others it may."""


async def judge_file(
    file: Path, root: Path, base_url: str, faults: BadRecords, *, scores: Path | None, concurrency: int
) -> list[ScoredSolution]:
    """Every usable solution of a file with the critic's scores, in order; the others go to `faults`.

    Raises EvaluationError, TooManyBadRecordsError and OSError.
    """
    lines, judged = LineFile(file), dict[int, ScoredSolution]()
    with ResultsFile(scores, {"file": hashlib.sha256(file.read_bytes()).hexdigest()}) as ledger:
        known = {row["line"]: row for row in ledger.rows}
        async with connected(base_url) as server:

            async def work(number: int) -> None:
                try:
                    record = lines.record(number, parse_marked)
                    if number not in known:
                        known[number] = {"line": number, **await score(server, record, root)}
                        ledger.add(known[number])
                except RecordError as error:
                    faults.reject(str(error))
                except CannotScore as error:
                    faults.reject(f"{lines.where(number)}: {error}")
                else:
                    faults.accept()
                    row = known[number]
                    judged[number] = ScoredSolution(
                        record.data_source or "unknown", record.marks, tuple(row["scores"]), row["critic"]
                    )

            await run_concurrently(
                range(len(lines)), work, total=len(lines), concurrency=concurrency, label="solutions"
            )
    faults.check_share()
    return [judged[number] for number in sorted(judged)]


async def score(server: ServerClient, record: MarkedRecord, root: Path) -> dict[str, Any]:
    """The critic's name and its score of each step. Raises Unscored; EvaluationError where none can be."""
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
        raise CannotScore(f"the critic gave {len(scores)} scores for {len(record.steps)} steps")
    return {"critic": critic, "scores": scores}


def _read_scores(reply: Mapping[str, Any]) -> tuple[str, list[float]]:
    (entry,) = reply["scores"]
    if entry.get("error"):
        raise CannotScore(f"the critic failed: {entry['error']}")
    return str(reply["model"]), [float(value) for value in entry["step_scores"]]
