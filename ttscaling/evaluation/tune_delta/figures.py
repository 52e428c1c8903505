"""Ask a server the same questions with each V2PE delta, and compute how often it is right.

Shapes: N questions, D deltas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttscaling.asking.address import Address
from ttscaling.asking.client import CHAT, Refused, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import run_concurrently
from ttscaling.asking.graders import Grader, stated_answer
from ttscaling.console import CommandError
from ttscaling.evaluation.question_sets import EvaluationQuestion
from ttscaling.reports.intervals import bootstrap, surely_positive


@dataclass(frozen=True)
class DeltaAccuracies:
    """The graded answers with every delta, the largest delta first.

    `right_ND` is 1 for a right answer and 0 otherwise. `refused_ND` says whether a question was too long for
    the window with a delta; `right_ND` is 0 there.
    """

    deltas: tuple[float, ...]
    right_ND: NDArray[np.float64]
    refused_ND: NDArray[np.bool_]


async def own_delta(address: Address, question: EvaluationQuestion, fields: Mapping[str, Any]) -> float:
    """Return the delta that the server uses if a request names none. Raises CommandError."""
    async with connected(address) as server:
        body = {**_body(question, fields), "max_tokens": 1}
        return await reply_of(server, CHAT, body, _read_delta, expected="v2pe_delta")


async def measure(
    address: Address,
    questions: Sequence[EvaluationQuestion],
    deltas: Sequence[float],
    fields: Mapping[str, Any],
    grade: Grader,
    *,
    concurrency: int,
) -> DeltaAccuracies:
    """Ask every question with every delta, greedily, and return the graded answers.

    `fields` are added to each request. Raises CommandError, also if the server ignores the delta.
    """
    ordered = tuple(sorted(deltas, reverse=True))
    right_ND = np.zeros((len(questions), len(ordered)))
    refused_ND = np.zeros(right_ND.shape, dtype=bool)
    async with connected(address) as server:

        async def work(cell: tuple[int, int]) -> None:
            question, delta = questions[cell[0]], ordered[cell[1]]
            try:
                answer = await _answer(server, question, delta, fields)
            except Refused as error:
                if "v2pe_delta" not in str(error):  # The question wasn't refused because of its length.
                    raise
                refused_ND[cell] = True
            else:
                right_ND[cell] = grade(answer, question.answer)

        cells = product(range(len(questions)), range(len(ordered)))
        await run_concurrently(
            cells, work, total=right_ND.size, concurrency=concurrency, label="questions x deltas"
        )
    return DeltaAccuracies(ordered, right_ND, refused_ND)


def summary(accuracies: DeltaAccuracies, *, current: float, seed: int) -> dict[str, Any]:
    """Return the report: each delta's accuracy, the best delta, and its paired gain over the current one.

    The best delta is the largest of those with the highest accuracy. `surely_better` says whether its gain is
    surely above 0. Raises CommandError if no question fits the window with any delta.
    """
    if accuracies.refused_ND.all():
        raise CommandError(
            "no question fits the window with any delta: ask shorter questions, or start the server with a "
            "larger --max-model-len"
        )
    deltas = accuracies.deltas
    shares_D = accuracies.right_ND.mean(axis=0)
    best = int(np.argmax(shares_D))  # argmax takes the first of equal shares, and the largest delta is first.
    gain_N = accuracies.right_ND[:, best] - accuracies.right_ND[:, deltas.index(current)]
    *estimates, gain = bootstrap(np.column_stack([accuracies.right_ND, gain_N]), seed=seed)
    refused = accuracies.refused_ND.sum(axis=0).tolist()
    rows = [
        {
            "v2pe_delta": delta,
            "accuracy": estimate.mean,
            "low": estimate.low,
            "high": estimate.high,
            "too_long": count,
        }
        for delta, estimate, count in zip(deltas, estimates, refused, strict=True)
    ]
    return {
        "best": deltas[best],
        "current": current,
        "gain": {"difference": gain.mean, "low": gain.low, "high": gain.high},
        "surely_better": surely_positive(gain, gain_N),
        "deltas": rows,
        "n": len(accuracies.right_ND),
    }


async def _answer(
    server: ServerClient, question: EvaluationQuestion, delta: float, fields: Mapping[str, Any]
) -> str | None:
    body = {**_body(question, fields), "mm_processor_kwargs": {"v2pe_delta": delta}}
    used, answer = await reply_of(server, CHAT, body, _read_answer, expected="answer with its v2pe_delta")
    if used != delta:
        raise CommandError(
            f"the server used v2pe_delta {used:g} where {delta:g} was asked for; use an internvl3 server"
        )
    return answer


def _read_answer(reply: Mapping[str, Any]) -> tuple[float, str | None]:
    return _read_delta(reply), stated_answer(reply["choices"][0])


def _read_delta(reply: Mapping[str, Any]) -> float:
    """Return the delta that the server used. Raises ValueError where the reply names none, or several."""
    delta = (reply.get("vision") or {}).get("v2pe_delta")
    if not isinstance(delta, int | float):
        raise ValueError(f"v2pe_delta is {delta}; every question must show an image or a video")
    return float(delta)


def _body(question: EvaluationQuestion, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [question.message], "temperature": 0, **fields}
