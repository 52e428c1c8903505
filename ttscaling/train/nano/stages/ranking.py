"""Measure how well a critic ranks the candidates of a question, to watch its training.

The accuracy of step scores over all questions would mislead. Best-of-N needs a gap between the right and the
wrong answers of the same question.
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
class AnsweredQuestion:
    """A question with its picture and the policy's candidates."""

    question: SheetQuestion
    image: Image.Image
    texts: tuple[str, ...]

    @property
    def right(self) -> list[bool]:
        """Whether each candidate states the right answer."""
        answer = solve(self.question).answer
        return [final_answer(text) == answer for text in self.texts]


def sample_candidates(
    sampler: TorchSampler,
    questions: Sequence[tuple[SheetQuestion, Image.Image]],
    *,
    n: int = NUM_CANDIDATES,
) -> list[AnsweredQuestion]:
    """Return questions with n sampled candidates each."""
    texts: list[list[str]] = []
    for start in range(0, len(questions), CHUNK):
        prompts = [(question, image, "") for question, image in questions[start : start + CHUNK]]
        texts += sampler.continue_texts(prompts, n=n)
    return [
        AnsweredQuestion(question, image, tuple(group))
        for (question, image), group in zip(questions, texts, strict=True)
    ]


def score_candidates(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    question: str,
    image: Image.Image,
    texts: Sequence[str],
    *,
    scheme: Scheme = BY_VALUE,
) -> list[tuple[float, ...]]:
    """Return the step scores of each candidate; by outcome a candidate has one score.

    The critic scores equal candidates once.
    """
    distinct = list(dict.fromkeys(texts))
    conversations = [scheme.conversation(question, image, split_steps(text)) for text in distinct]
    scores = dict(zip(distinct, score_steps(model, encoder, conversations, scheme=scheme), strict=True))
    return [scores[text] for text in texts]


def rank_candidates(
    model: V2PEInternVL, encoder: NanoEncoder, questions: list[AnsweredQuestion], *, scheme: Scheme = BY_VALUE
) -> dict[str, float]:
    """Return pass@1, majority and Best-of-8 by mean step score, and the gap of scores.

    The gap is the mean score of a question's right candidates minus that of its wrong ones. It is averaged
    over the questions that have both.
    """
    training = model.training
    model.eval()
    best, votes, single, gaps = [], [], [], []
    for answered in questions:
        step_scores = score_candidates(
            model, encoder, answered.question.question, answered.image, answered.texts, scheme=scheme
        )
        scores = np.array([np.mean(steps) for steps in step_scores])
        right = np.array(answered.right)
        single.append(right.mean())
        best.append(right[scores.argmax()])
        votes.append(right[majority([final_answer(text) for text in answered.texts])])
        if 0 < right.sum() < len(right):
            gaps.append(scores[right].mean() - scores[~right].mean())
    model.train(training)
    return {
        "pass@1": float(np.mean(single)),
        "majority": float(np.mean(votes)),
        "best_of_8": float(np.mean(best)),
        "gap": float(np.mean(gaps)) if gaps else 0.0,
    }
