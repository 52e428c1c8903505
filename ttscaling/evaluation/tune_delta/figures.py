"""How often a server is right with each V2PE delta, on the same questions.

Shapes: N questions, D deltas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttscaling.answers.final_answer import final_answer
from ttscaling.asking.client import CHAT, Refused, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import run_concurrently
from ttscaling.asking.graders import Grader
from ttscaling.console import CommandError
from ttscaling.evaluation.question_sets import EvaluationQuestion
from ttscaling.reports.intervals import bootstrap


@dataclass(frozen=True)
class DeltaAccuracies:
    """Answers with every delta, largest first. `right_ND` is 0 also where a question was too long."""

    deltas: tuple[float, ...]
    right_ND: NDArray[np.float64]
    refused_ND: NDArray[np.bool_]


async def own_delta(base_url: str, question: EvaluationQuestion, fields: Mapping[str, Any]) -> float:
    """The delta that the server takes where a request names none. Raises EvaluationError."""
    async with connected(base_url) as server:
        body = {**_body(question, fields), "max_tokens": 1}
        return await reply_of(server, CHAT, body, _read_delta, expected="v2pe_delta")


async def measure(
    base_url: str,
    asked: Sequence[EvaluationQuestion],
    deltas: Sequence[float],
    fields: Mapping[str, Any],
    judge: Grader,
    *,
    concurrency: int,
) -> DeltaAccuracies:
    """Every question with every delta, greedily; `fields` go into each request.

    Raises EvaluationError, also where the server doesn't heed the delta.
    """
    ordered = tuple(sorted(deltas, reverse=True))
    right_ND = np.zeros((len(asked), len(ordered)))
    refused_ND = np.zeros(right_ND.shape, dtype=bool)
    async with connected(base_url) as server:

        async def work(place: tuple[int, int]) -> None:
            question, delta = asked[place[0]], ordered[place[1]]
            try:
                stated = await _answer(server, question, delta, fields)
            except Refused as error:
                if "v2pe_delta" not in str(error):  # it isn't the window
                    raise
                refused_ND[place] = True
            else:
                right_ND[place] = judge(stated, question.answer)

        places = product(range(len(asked)), range(len(ordered)))
        await run_concurrently(
            places, work, total=right_ND.size, concurrency=concurrency, label="questions x deltas"
        )
    return DeltaAccuracies(ordered, right_ND, refused_ND)


def summary(measured: DeltaAccuracies, *, current: float, seed: int) -> dict[str, Any]:
    """The report: each delta's accuracy, the best, and what it gains over the current one, paired.

    Equally good: the largest. Raises EvaluationError where no question fits with any delta.
    """
    if measured.refused_ND.all():
        raise CommandError(
            "no question fits the window with any delta: send less, or serve with a larger --max-model-len"
        )
    deltas = measured.deltas
    shares_D = measured.right_ND.mean(axis=0)
    best = int(np.argmax(shares_D))  # the first of the largest, and deltas fall
    gain_N = measured.right_ND[:, best] - measured.right_ND[:, deltas.index(current)]
    *accuracies, gain = bootstrap(np.column_stack([measured.right_ND, gain_N]), seed=seed)
    refused = measured.refused_ND.sum(axis=0).tolist()
    rows = [
        {"v2pe_delta": delta, "accuracy": e.mean, "low": e.low, "high": e.high, "too_long": count}
        for delta, e, count in zip(deltas, accuracies, refused, strict=True)
    ]
    return {
        "best": deltas[best],
        "current": current,
        "gain": {"difference": gain.mean, "low": gain.low, "high": gain.high},
        "deltas": rows,
        "n": len(measured.right_ND),
    }


async def _answer(
    server: ServerClient, question: EvaluationQuestion, delta: float, fields: Mapping[str, Any]
) -> str | None:
    body = {**_body(question, fields), "mm_processor_kwargs": {"v2pe_delta": delta}}
    used, text = await reply_of(server, CHAT, body, _read_answer, expected="answer with its v2pe_delta")
    if used != delta:
        raise CommandError(
            f"the server used v2pe_delta {used:g} where {delta:g} was asked for; use an internvl3 server"
        )
    return final_answer(text)


def _read_answer(reply: Mapping[str, Any]) -> tuple[float, str]:
    return _read_delta(reply), reply["choices"][0]["message"]["content"] or ""


def _read_delta(reply: Mapping[str, Any]) -> float:
    """Return the delta that the server used. Raises ValueError where the reply names none, or several."""
    delta = (reply.get("vision") or {}).get("v2pe_delta")
    if not isinstance(delta, int | float):
        raise ValueError(f"v2pe_delta is {delta}; every question must show an image or a video")
    return float(delta)


def _body(question: EvaluationQuestion, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [question.message], "temperature": 0, **fields}
