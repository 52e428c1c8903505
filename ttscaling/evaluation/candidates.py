"""Ask a running server for candidates with step scores and for beam searches, and keep them in a file.

One set of candidates serves every N and every method (`pools.py`). Several requests bring a large number of
candidates. Each request has a seed of its own, so their candidates are independent. The file also says which
checkpoints and server settings they are from, and takes no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ttscaling.asking.address import Address
from ttscaling.asking.client import CHAT, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import SEEDS_APART, run_concurrently
from ttscaling.asking.results_file import SERVER, ResultsFile, Row
from ttscaling.asking.server_setup import critic_name, server_setup
from ttscaling.recorded import QuestionCandidates

from .question_sets import EvaluationQuestion

Request = range | int
"""The indices of the candidates that one request asks for, or the n of a beam search."""
Key = tuple[int, str, int]
"""A row of the results file: the question's index; "candidate" and its index, or "beam" and its n."""


@dataclass(frozen=True, kw_only=True)
class CandidatePlan:
    """The settings of the requests; `fields`, such as a temperature, are added to each body unchanged."""

    num_candidates: int
    beams: tuple[int, ...]  # The n of each beam search.
    per_request: int  # One request asks for no more candidates than this.
    seed: int
    include_greedy: bool
    fields: Mapping[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """Return what candidates depend on besides the question; a later run may add more candidates."""
        return {"seed": self.seed, "include_greedy": self.include_greedy, **self.fields}

    def requests(self) -> list[Request]:
        """Return the requests about one question; those for candidates are of nearly equal size."""
        count = -(-self.num_candidates // self.per_request)
        edges = [self.num_candidates * index // count for index in range(count + 1)]
        return [*(range(first, end) for first, end in pairwise(edges)), *self.beams]


async def collect_candidates(
    address: Address,
    questions: Sequence[EvaluationQuestion],
    plan: CandidatePlan,
    *,
    source: str,
    file: Path | None,
    concurrency: int,
) -> list[QuestionCandidates]:
    """Return the candidates of every question; only those that `file` lacks are asked for.

    `source` identifies the questions. Raises CommandError at the first failure; the candidates that came
    before it stay in the file.
    """
    async with connected(address) as server:
        setup = await server_setup(server, plan.fields.get("model"))
        critic = critic_name(setup)
        identity = {"questions": source, **plan.identity, SERVER: setup}
        with ResultsFile(file, identity) as results:
            await _complete(server, questions, plan, results, concurrency)
            return _by_question(results.rows, len(questions), plan, critic)


async def _complete(
    server: ServerClient,
    questions: Sequence[EvaluationQuestion],
    plan: CandidatePlan,
    results: ResultsFile,
    concurrency: int,
) -> None:
    """Ask for the candidates and searches that `results` lacks, and add them."""
    known_keys = {_key(row) for row in results.rows}
    requests = [(number, request) for number in range(len(questions)) for request in plan.requests()]
    missing = [(number, request) for number, request in requests if not _keys(number, request) <= known_keys]

    async def work(numbered: tuple[int, Request]) -> None:
        number, request = numbered
        rows = await reply_of(
            server,
            CHAT,
            _body(questions[number], number, request, plan),
            lambda reply: _rows(reply, number, request),
            expected=f"scored candidates of question {number}",
        )
        for row in rows:
            if _key(row) not in known_keys:
                known_keys.add(_key(row))
                results.add(row)

    await run_concurrently(
        missing,
        work,
        total=len(requests),
        finished_before=len(requests) - len(missing),
        concurrency=concurrency,
        label="requests",
    )


def _body(question: EvaluationQuestion, number: int, request: Request, plan: CandidatePlan) -> dict[str, Any]:
    first = request.start if isinstance(request, range) else 0
    if isinstance(request, range):
        greedy = plan.include_greedy and first == 0
        scaling = {
            "method": "best_of_n",
            "n": len(request),
            "include_greedy": greedy,
            "return_candidates": True,
        }
    else:
        scaling = {"method": "beam_search", "n": request, "include_greedy": plan.include_greedy}
    return {
        "messages": [question.message],
        "test_time_scaling": {**scaling, "on_critic_error": "fail"},
        "seed": plan.seed + number * SEEDS_APART + first,
        **plan.fields,
    }


def _rows(reply: Mapping[str, Any], number: int, request: Request) -> list[Row]:
    """Return the rows of the results file that a reply brings.

    Raises ValueError, KeyError, TypeError or IndexError where the reply lacks something.
    """
    scaling = reply["test_time_scaling"]
    if not isinstance(request, range):
        (choice,) = reply["choices"]
        return [
            {
                "question": number,
                "beam": request,
                "text": choice["message"]["content"] or "",
                "tokens": scaling["usage"]["policy"]["completion"],
                "finish_reason": choice["finish_reason"],
            }
        ]
    entries = {request.start + entry["index"]: entry for entry in scaling["candidates"]}
    if set(entries) != set(request):
        raise ValueError(f"{len(entries)} of {len(request)} candidates came back: {scaling['degraded']}")
    return [
        {
            "question": number,
            "candidate": index,
            "text": entry["text"],
            "step_scores": [float(score) for score in entry["step_scores"]],
            "tokens": entry["completion_tokens"],
            "finish_reason": entry["finish_reason"],
        }
        for index, entry in sorted(entries.items())
    ]


def _keys(number: int, request: Request) -> set[Key]:
    """Return the keys of the rows that a request brings."""
    if isinstance(request, range):
        return {(number, "candidate", index) for index in request}
    return {(number, "beam", request)}


def _key(row: Row) -> Key:
    kind = "candidate" if "candidate" in row else "beam"
    return row["question"], kind, row[kind]


def _by_question(
    rows: Sequence[Row], num_questions: int, plan: CandidatePlan, critic: str
) -> list[QuestionCandidates]:
    """Return the candidates that the plan asks for, out of all rows of the results file."""
    row_of = {_key(row): row for row in rows}
    by_question = []
    for number in range(num_questions):
        candidates = [row_of[number, "candidate", index] for index in range(plan.num_candidates)]
        beams = {n: row_of[number, "beam", n] for n in plan.beams}
        by_question.append(
            QuestionCandidates(
                texts=tuple(row["text"] for row in candidates),
                step_scores=tuple(tuple(row["step_scores"]) for row in candidates),
                tokens=tuple(row["tokens"] for row in candidates),
                finish_reasons=tuple(row["finish_reason"] for row in candidates),
                critic=critic,
                beam_texts={n: row["text"] for n, row in beams.items()},
                beam_tokens={n: row["tokens"] for n, row in beams.items()},
                beam_finish_reasons={n: row["finish_reason"] for n, row in beams.items()},
            )
        )
    return by_question
