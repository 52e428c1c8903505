"""Replay Best-of-N with a stop rule on recorded candidates, to find the rule that saves the most tokens.

The real algorithm runs without a server. Each recorded candidate is written again, one token in each turn of
the event loop, as an engine writes candidates side by side. The critic's recorded scores come at once. So one
set of candidates gives the accuracy and the tokens of a whole grid of rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttscaling.asking.graders import Grader
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.recorded import QuestionCandidates, RecordedCritic, RecordedPolicy
from ttscaling.reports.intervals import bootstrap
from ttscaling.selection.stopping import StopRule
from ttscaling.types import Conversation

SCORES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
AGREEMENTS = (None, 0.8, 0.9, 0.95)
NO_QUESTION = Conversation(messages=({"role": "user", "content": "as recorded"},))


@dataclass(frozen=True)
class Outcome:
    """For each of N questions, 1 or 0 for a right or wrong answer, and the number of generated tokens."""

    right_N: NDArray[np.float64]
    tokens_N: NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        return float(self.right_N.mean())

    @property
    def tokens(self) -> float:
        """Return the mean number of tokens of a question."""
        return float(self.tokens_N.mean())


async def replay(
    candidates: Sequence[QuestionCandidates], answers: Sequence[str], grade: Grader, rule: StopRule
) -> Outcome:
    """Return the outcome of Best-of-N with a stop rule; N is the number of a question's candidates.

    `candidates` and the right `answers` have an entry for each question.
    """
    right, tokens = [], []
    for recorded, answer in zip(candidates, answers, strict=True):
        policy = RecordedPolicy(recorded)
        n = len(recorded.texts)
        selection = await best_of_n(policy, RecordedCritic(recorded), NO_QUESTION, n=n, stop=rule)
        right.append(grade(selection.winner.answer, answer))
        tokens.append(policy.tokens)
    return Outcome(np.array(right, dtype=float), np.array(tokens, dtype=float))


@dataclass(frozen=True)
class ChosenRule:
    """A stop rule with its outcome and the outcome without a rule, and whether its loss is surely allowed."""

    rule: StopRule
    adaptive: Outcome
    full: Outcome
    surely: bool


async def choose_rule(
    candidates: Sequence[QuestionCandidates],
    answers: Sequence[str],
    grade: Grader,
    *,
    max_parallel: int | None,
    allowed_loss: float,
    seed: int,
) -> ChosenRule:
    """Return the stop rule with the fewest tokens whose loss of accuracy is surely at most `allowed_loss`.

    A loss is surely allowed if the 95 % interval of the paired difference in accuracy lies above
    -allowed_loss. The mean difference alone would favour rules that lose little by chance. Where no question
    was lost, the bootstrap's interval is [0, 0] however few they are, so the interval begins at -3/N or
    below, which is the 95 % bound for an event that was not seen in N cases. Every rule has a score, and some
    have an agreement too. If no rule passes, those whose interval begins highest are considered.
    """
    full = await replay(candidates, answers, grade, StopRule())
    rules = [
        StopRule(score=score, agreement=agreement, max_parallel=max_parallel)
        for score in SCORES
        for agreement in AGREEMENTS
    ]
    outcomes = [await replay(candidates, answers, grade, rule) for rule in rules]
    differences_NR = np.stack([outcome.right_N - full.right_N for outcome in outcomes], axis=1)
    lows = [min(estimate.low, -3 / len(answers)) for estimate in bootstrap(differences_NR, seed=seed)]
    lowest_allowed = min(max(lows), -allowed_loss)
    allowed = (entry for entry in zip(rules, outcomes, lows, strict=True) if entry[2] >= lowest_allowed)
    rule, outcome, low = min(allowed, key=lambda entry: entry[1].tokens)
    return ChosenRule(rule, outcome, full, surely=low >= -allowed_loss)
