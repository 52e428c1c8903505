"""Ask a running server for eight candidates of each of nano's held-out questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ttscaling.asking.address import Address
from ttscaling.asking.client import CHAT, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import SEEDS_APART, run_concurrently
from ttscaling.evaluation.question_sets import EvaluationQuestion, heldout_questions
from ttscaling.types import EMPTY_ANSWER, Candidate, ScoredCandidate

N = 8


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The eight candidates of a question as the server sent them.

    `cut_off` says whether the token limit ended a candidate. `lowest_score` holds the lowest of the critic's
    step scores of each candidate, or None where the critic failed. `log_prob` holds each candidate's mean
    log-probability of a token under the policy. `selected` is the index of the server's choice, and
    `degraded` says whether the reply names a failure.
    """

    question: EvaluationQuestion
    texts: tuple[str, ...]
    cut_off: tuple[bool, ...]
    lowest_score: tuple[float | None, ...]
    log_prob: tuple[float, ...]
    selected: int
    degraded: bool

    @property
    def candidates(self) -> list[Candidate]:
        """The candidates in the library's form."""
        return [
            replace(EMPTY_ANSWER, index=index, text=text, finish_reason="length" if cut_off else "stop")
            for index, (text, cut_off) in enumerate(zip(self.texts, self.cut_off, strict=True))
        ]

    @property
    def final_answers(self) -> list[str | None]:
        """What each candidate states as its final answer."""
        return [
            ScoredCandidate(candidate=candidate, step_scores=None, score=None).answer
            for candidate in self.candidates
        ]


async def ask_all(address: Address, n: int, *, seed: int, concurrency: int) -> list[Answers]:
    """Return the candidates of n held-out questions, in order. Raises CommandError at the first failure."""
    answers: dict[int, Answers] = {}
    async with connected(address) as server:

        async def work(numbered: tuple[int, EvaluationQuestion]) -> None:
            number, question = numbered
            answers[number] = await ask(server, question, seed=seed + number * SEEDS_APART)

        questions = enumerate(heldout_questions(n, seed))
        await run_concurrently(questions, work, total=n, concurrency=concurrency, label="held-out questions")
    return [answers[number] for number in range(n)]


async def ask(server: ServerClient, question: EvaluationQuestion, *, seed: int) -> Answers:
    """Return the candidates that one Best-of-8 request brings. Raises CommandError."""
    body = {
        "messages": [question.message],
        "test_time_scaling": {"n": N, "return_candidates": True},
        "n": N,  # The reply then has a choice for each candidate, with its log-probabilities.
        "logprobs": True,
        "seed": seed,
    }
    return await reply_of(
        server, CHAT, body, lambda reply: read_reply(question, reply), expected="candidates"
    )


def read_reply(question: EvaluationQuestion, reply: Mapping[str, Any]) -> Answers:
    """Return the candidates of a reply. Raises KeyError, ValueError or TypeError if it has another shape."""
    scaling = reply["test_time_scaling"]
    candidates = scaling["candidates"]
    if len(candidates) != N:
        raise ValueError(f"{len(candidates)} candidates came back, not {N}")
    log_probs = {  # Candidates with equal texts have equal tokens, so a text identifies a choice.
        choice["message"]["content"]: float(np.mean([t["logprob"] for t in choice["logprobs"]["content"]]))
        for choice in reply["choices"]
    }
    return Answers(
        question=question,
        texts=tuple(candidate["text"] for candidate in candidates),
        cut_off=tuple(candidate["finish_reason"] == "length" for candidate in candidates),
        lowest_score=tuple(
            None if candidate["step_scores"] is None else min(candidate["step_scores"])
            for candidate in candidates
        ),
        log_prob=tuple(log_probs[candidate["text"]] for candidate in candidates),
        selected=scaling["selected"],
        degraded=scaling["degraded"] is not None,
    )


def scored(answers: Answers, scores: Sequence[float | None]) -> list[ScoredCandidate]:
    """Return the candidates that have a score, in the form that `ttscaling.selection.choosing` takes."""
    return [
        ScoredCandidate(candidate=candidate, step_scores=None, score=score)
        for candidate, score in zip(answers.candidates, scores, strict=True)
        if score is not None
    ]
