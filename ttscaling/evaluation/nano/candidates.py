"""Eight candidates for each held-out question, by one request each, and rankings of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ttscaling.asking.client import CHAT, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import SEEDS_APART, run_concurrently
from ttscaling.evaluation.question_sets import EvaluationQuestion, heldout_questions
from ttscaling.types import EMPTY_ANSWER, ScoredCandidate

N = 8


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A question's candidates as the server sent them.

    `score` is the critic's of each, None where it failed; `log_prob` the policy's own mean over tokens.
    """

    question: EvaluationQuestion
    texts: tuple[str, ...]
    score: tuple[float | None, ...]
    log_prob: tuple[float, ...]
    selected: int
    degraded: bool


async def ask_all(base_url: str, n: int, *, seed: int, concurrency: int) -> list[Answers]:
    """The candidates of every question, in their order. Raises EvaluationError at the first failure."""
    answers: dict[int, Answers] = {}
    async with connected(base_url) as server:

        async def work(numbered: tuple[int, EvaluationQuestion]) -> None:
            number, question = numbered
            answers[number] = await ask(server, question, seed=seed + number * SEEDS_APART)

        questions = enumerate(heldout_questions(n, seed))
        await run_concurrently(questions, work, total=n, concurrency=concurrency, label="held-out questions")
    return [answers[number] for number in range(n)]


async def ask(server: ServerClient, question: EvaluationQuestion, *, seed: int) -> Answers:
    """One Best-of-8 request. Raises EvaluationError."""
    body = {
        "messages": [question.message],
        "test_time_scaling": {"n": N, "return_candidates": True},
        "n": N,  # all of them come back, which is how their log-probabilities do
        "logprobs": True,
        "seed": seed,
    }
    return await reply_of(
        server, CHAT, body, lambda reply: read_reply(question, reply), expected="candidates"
    )


def read_reply(question: EvaluationQuestion, reply: Mapping[str, Any]) -> Answers:
    """A reply's candidates; KeyError, ValueError or TypeError for another kind of reply."""
    scaling = reply["test_time_scaling"]
    candidates = scaling["candidates"]
    if len(candidates) != N:
        raise ValueError(f"{len(candidates)} candidates, not {N}")
    log_probs = {  # equal texts are equal tokens
        choice["message"]["content"]: float(np.mean([t["logprob"] for t in choice["logprobs"]["content"]]))
        for choice in reply["choices"]
    }
    return Answers(
        question=question,
        texts=tuple(candidate["text"] for candidate in candidates),
        score=tuple(candidate["score"] for candidate in candidates),
        log_prob=tuple(log_probs[candidate["text"]] for candidate in candidates),
        selected=scaling["selected"],
        degraded=scaling["degraded"] is not None,
    )


def scored(texts: Sequence[str], scores: Sequence[float | None]) -> list[ScoredCandidate]:
    """Candidates as `ttscaling.selection.choosing` takes them, those that have a score."""
    return [
        ScoredCandidate(
            candidate=replace(EMPTY_ANSWER, index=index, text=text), step_scores=None, score=score
        )
        for index, (text, score) in enumerate(zip(texts, scores, strict=True))
        if score is not None
    ]
