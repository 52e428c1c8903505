"""Candidates with their step scores, and beam searches, gathered through a running server and kept in a file.

One set of candidates serves every N and every way to choose (`pools.py`). A large N is gathered by several
requests whose seeds follow on, so the candidates are those that one request for all of them would bring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ttscaling.asking.client import CHAT, connected, reply_of
from ttscaling.asking.concurrency import SEEDS_APART, run_concurrently
from ttscaling.asking.results_file import ResultsFile, Row
from ttscaling.recorded import QuestionCandidates

from .question_sets import EvaluationQuestion

Key = tuple[int, str, int]  # question, "candidate" or "beam", the candidate's index or the search's n


@dataclass(frozen=True, kw_only=True)
class CandidatePlan:
    """What is asked about every question; `fields` go into each request as they are (model, temperature)."""

    num_candidates: int
    beams: tuple[int, ...]  # the n of each beam search
    per_request: int
    seed: int
    include_greedy: bool
    fields: Mapping[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """What candidates depend on, besides question and seed: more of them may be gathered later."""
        return {"seed": self.seed, "include_greedy": self.include_greedy, **self.fields}

    def parts(self) -> list[range]:
        """The candidates in requests of at most `per_request`, nearly equal ones."""
        count = -(-self.num_candidates // self.per_request)
        edges = [self.num_candidates * at // count for at in range(count + 1)]
        return [range(first, end) for first, end in pairwise(edges)]


async def collect_candidates(
    base_url: str,
    questions: Sequence[EvaluationQuestion],
    plan: CandidatePlan,
    *,
    source: str,
    kept: Path | None,
    concurrency: int,
) -> list[QuestionCandidates]:
    """The rollouts of every question; those in the file `kept` aren't asked for again.

    `source` says which questions these are. Raises EvaluationError at the first failure; what was gathered
    until then is kept.
    """
    with ResultsFile(kept, {"questions": source, **plan.identity}) as ledger:
        known = {_key(row) for row in ledger.rows}
        jobs_of_one: list[range | int] = [*plan.parts(), *plan.beams]
        jobs = [(number, job) for number in range(len(questions)) for job in jobs_of_one]
        missing = [(number, job) for number, job in jobs if not _keys(number, job) <= known]
        async with connected(base_url) as server:

            async def work(asked: tuple[int, range | int]) -> None:
                number, job = asked
                rows = await reply_of(
                    server,
                    CHAT,
                    _body(questions[number], number, job, plan),
                    lambda reply: _rows(reply, number, job),
                    expected=f"scored candidates of question {number}",
                )
                for row in rows:
                    if _key(row) not in known:
                        known.add(_key(row))
                        ledger.add(row)

            await run_concurrently(
                missing,
                work,
                total=len(jobs),
                done=len(jobs) - len(missing),
                concurrency=concurrency,
                label="requests",
            )
        return _by_question(ledger.rows, len(questions), plan)


def _body(question: EvaluationQuestion, number: int, job: range | int, plan: CandidatePlan) -> dict[str, Any]:
    """The request for a part of a question's candidates, or for a beam search of this n."""
    first = job.start if isinstance(job, range) else 0
    if isinstance(job, range):
        greedy = plan.include_greedy and first == 0
        scaling = {"method": "best_of_n", "n": len(job), "include_greedy": greedy, "return_candidates": True}
    else:
        scaling = {"method": "beam_search", "n": job, "include_greedy": plan.include_greedy}
    return {
        "messages": [question.message],
        "test_time_scaling": {**scaling, "on_critic_error": "fail"},
        "seed": plan.seed + number * SEEDS_APART + first,
        **plan.fields,
    }


def _rows(reply: Mapping[str, Any], number: int, job: range | int) -> list[Row]:
    """Return the rows of the results file that a reply brings.

    Raises ValueError, KeyError, TypeError or IndexError where the reply lacks something.
    """
    scaling = reply["test_time_scaling"]
    if not isinstance(job, range):
        text, tokens = reply["choices"][0]["message"]["content"], scaling["usage"]["policy"]["completion"]
        return [{"question": number, "beam": job, "text": text or "", "tokens": tokens}]
    found = {job.start + entry["index"]: entry for entry in scaling["candidates"]}
    if set(found) != set(job):
        raise ValueError(f"{len(found)} of {len(job)} candidates came back: {scaling['degraded']}")
    return [
        {
            "question": number,
            "candidate": index,
            "text": entry["text"],
            "step_scores": [float(score) for score in entry["step_scores"]],
            "tokens": entry["completion_tokens"],
            "critic": scaling["critic"],
        }
        for index, entry in sorted(found.items())
    ]


def _keys(number: int, job: range | int) -> set[Key]:
    """What a job brings."""
    if isinstance(job, range):
        return {(number, "candidate", index) for index in job}
    return {(number, "beam", job)}


def _key(row: Row) -> Key:
    kind = "candidate" if "candidate" in row else "beam"
    return row["question"], kind, row[kind]


def _by_question(rows: Sequence[Row], num_questions: int, plan: CandidatePlan) -> list[QuestionCandidates]:
    """The kept rows that the plan asks for."""
    row_of = {_key(row): row for row in rows}
    gathered = []
    for number in range(num_questions):
        candidates = [row_of[number, "candidate", index] for index in range(plan.num_candidates)]
        beams = {n: row_of[number, "beam", n] for n in plan.beams}
        gathered.append(
            QuestionCandidates(
                texts=tuple(row["text"] for row in candidates),
                step_scores=tuple(tuple(row["step_scores"]) for row in candidates),
                tokens=tuple(row["tokens"] for row in candidates),
                critic=candidates[0]["critic"],
                beam_texts={n: row["text"] for n, row in beams.items()},
                beam_tokens={n: row["tokens"] for n, row in beams.items()},
            )
        )
    return gathered
