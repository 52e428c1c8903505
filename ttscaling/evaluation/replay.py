"""What a stop rule would have made of candidates that were gathered before: the real algorithm, no server.

Recorded candidates are written anew, a token each a turn of the event loop, as an engine writes those that
run side by side; the critic's recorded scores come at once. So a rule's accuracy and tokens are known for a
whole grid of rules from one set of candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttscaling.answers.final_answer import final_answer
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
    """Of N questions: 1 where the answer is right, else 0, and the tokens generated."""

    right_N: NDArray[np.float64]
    tokens_N: NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        return float(self.right_N.mean())

    @property
    def tokens(self) -> float:
        """Of a question, on average."""
        return float(self.tokens_N.mean())


async def replay(
    gathered: Sequence[QuestionCandidates], known: Sequence[str], judge: Grader, rule: StopRule
) -> Outcome:
    """What Best-of-N under a rule makes of questions with these right answers, all their candidates for N."""
    right, tokens = [], []
    for rolled, answer in zip(gathered, known, strict=True):
        policy = RecordedPolicy(rolled)
        n = len(rolled.texts)
        selection = await best_of_n(policy, RecordedCritic(rolled), NO_QUESTION, n=n, stop=rule)
        right.append(judge(final_answer(selection.winner.candidate.text), answer))
        tokens.append(policy.tokens)
    return Outcome(np.array(right, dtype=float), np.array(tokens, dtype=float))


async def choose_rule(
    gathered: Sequence[QuestionCandidates],
    known: Sequence[str],
    judge: Grader,
    *,
    max_parallel: int | None,
    allowed_loss: float,
    seed: int,
) -> tuple[StopRule, Outcome, Outcome]:
    """The rule of fewest tokens that surely loses no more accuracy; what it comes to, and what no rule does.

    Surely: the 95 % interval of the difference, of the same questions, lies above -allowed_loss. The mean
    alone would flatter the boldest of many rules. Rules are by score, with and without one by agreement; if
    none is that sure, the surest is taken.
    """
    full = await replay(gathered, known, judge, StopRule())
    rules = [
        StopRule(score=score, agreement=agreement, max_parallel=max_parallel)
        for score in SCORES
        for agreement in AGREEMENTS
    ]
    outcomes = [await replay(gathered, known, judge, rule) for rule in rules]
    differences_NR = np.stack([outcome.right_N - full.right_N for outcome in outcomes], axis=1)
    lows = [estimate.low for estimate in bootstrap(differences_NR, seed=seed)]
    bar = min(max(lows), -allowed_loss)
    tried = zip(rules, outcomes, lows, strict=True)
    rule, chosen, _ = min((entry for entry in tried if entry[2] >= bar), key=lambda entry: entry[1].tokens)
    return rule, chosen, full
