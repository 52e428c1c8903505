"""How well a critic ranks candidates of one question: the figure to watch while it trains.

Step accuracy over all questions misleads: what Best-of-N needs is a gap between right and wrong answers of
the same question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ttscaling.answers.final_answer import final_answer, majority
from ttscaling.nano_tasks.problems import SheetQuestion, solve
from ttscaling.steps import split_steps
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.network.internvl import V2PEInternVL

from .critic import score_steps
from .labelling import BY_VALUE, Scheme
from .monte_carlo import CHUNK, TorchSampler

NUM_CANDIDATES = 8


@dataclass(frozen=True)
class Ranked:
    """A question with sampled candidates."""

    task: SheetQuestion
    image: Image.Image
    texts: tuple[str, ...]

    @property
    def right(self) -> list[bool]:
        answer = solve(self.task).answer
        return [final_answer(text) == answer for text in self.texts]


def sample_candidates(
    sampler: TorchSampler, drawn: Sequence[tuple[SheetQuestion, Image.Image]], *, n: int = NUM_CANDIDATES
) -> list[Ranked]:
    """n candidates for each of some tasks with their pictures."""
    texts: list[list[str]] = []
    for start in range(0, len(drawn), CHUNK):
        prompts = [(task, image, "") for task, image in drawn[start : start + CHUNK]]
        texts += sampler.continue_texts(prompts, n=n)
    return [Ranked(task, image, tuple(group)) for (task, image), group in zip(drawn, texts, strict=True)]


def score_candidates(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    question: str,
    image: Image.Image,
    texts: Sequence[str],
    *,
    scheme: Scheme = BY_VALUE,
) -> list[tuple[float, ...]]:
    """The step scores of each candidate; by outcome one score. Equal ones are judged once."""
    distinct = list(dict.fromkeys(texts))
    judgings = [scheme.shown(question, image, split_steps(text)) for text in distinct]
    scores = dict(zip(distinct, score_steps(model, encoder, judgings, scheme=scheme), strict=True))
    return [scores[text] for text in texts]


def rank_candidates(
    model: V2PEInternVL, encoder: NanoEncoder, questions: list[Ranked], *, scheme: Scheme = BY_VALUE
) -> dict[str, float]:
    """pass@1, majority, Best-of-8 by mean step score, and the mean score gap between right and wrong."""
    training = model.training
    model.eval()
    best, votes, single, gaps = [], [], [], []
    for question in questions:
        step_scores = score_candidates(
            model, encoder, question.task.question, question.image, question.texts, scheme=scheme
        )
        scores = np.array([np.mean(steps) for steps in step_scores])
        right = np.array(question.right)
        single.append(right.mean())
        best.append(right[scores.argmax()])
        votes.append(right[majority([final_answer(text) for text in question.texts])])
        if 0 < right.sum() < len(right):
            gaps.append(scores[right].mean() - scores[~right].mean())
    model.train(training)
    return {
        "pass@1": float(np.mean(single)),
        "majority": float(np.mean(votes)),
        "best_of_8": float(np.mean(best)),
        "gap": float(np.mean(gaps)) if gaps else 0.0,
    }
