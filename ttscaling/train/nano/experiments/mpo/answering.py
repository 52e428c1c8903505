"""Answer nano's questions in torch and measure the answers as `internvl3 eval nano` does.

This suits experiments with many policies. A question has eight candidates, one greedy and seven sampled. The
caller names the temperature, and the delta is 1.

Shapes: N questions, M figures of METRICS.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from ttscaling.answers.final_answer import final_answer
from ttscaling.nano_tasks.problems import Problem
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.sampling import sample_continuations
from ttscaling.train.nano.stages.monte_carlo import CHUNK, MAX_TOKENS
from ttscaling.train.nano.stages.ranking import score_candidates
from ttscaling.train.network.internvl import V2PEInternVL

NUM_SAMPLED = 7
METRICS = ("pass@1", "greedy", "best_of_8", "pass@8")


def temperature_of(checkpoint: Path) -> float:
    """Return the sampling temperature of a checkpoint, which the server uses if a request names none."""
    return float(json.loads((checkpoint / "generation_config.json").read_text())["temperature"])


def answer(
    model: V2PEInternVL, encoder: NanoEncoder, questions: Sequence[Problem], *, temperature: float, seed: int
) -> list[tuple[str, ...]]:
    """Return eight candidates for each question, the greedy one first."""
    generator = torch.Generator().manual_seed(seed)
    candidates: list[tuple[str, ...]] = []
    for start in track(range(0, len(questions), CHUNK), "answers", transient=True):
        prompts = [
            encoder.prompt(problem.question, problem.image, delta=1.0)
            for problem in questions[start : start + CHUNK]
        ]
        greedy, sampled = (
            sample_continuations(
                model,
                prompts,
                n=n,
                temperature=temperature_of_group,
                max_tokens=MAX_TOKENS,
                eos_token=encoder.end_token,
                generator=generator,
            )
            for n, temperature_of_group in ((1, 0.0), (NUM_SAMPLED, temperature))
        )
        candidates += [
            tuple(encoder.tokenizer.decode(reply) for reply in (*greedy_replies, *sampled_replies))
            for greedy_replies, sampled_replies in zip(greedy, sampled, strict=True)
        ]
    return candidates


def mean_scores(
    critic: V2PEInternVL,
    encoder: NanoEncoder,
    questions: Sequence[Problem],
    candidates: Sequence[Sequence[str]],
) -> list[list[float]]:
    """Return the mean of the step scores of every candidate."""
    scores = []
    for problem, texts in track(list(zip(questions, candidates, strict=True)), "scores", transient=True):
        steps = score_candidates(critic, encoder, problem.question, problem.image, texts)
        scores.append([float(np.mean(step)) for step in steps])
    return scores


def figures(
    questions: Sequence[Problem], candidates: Sequence[Sequence[str]], scores: Sequence[Sequence[float]]
) -> NDArray[np.float64]:
    """Return the figures of METRICS for each question, (N, M), each in [0, 1].

    Best-of-8 takes the candidate with the highest score, and the first one among equal scores.
    """
    rows = []
    for problem, texts, score in zip(questions, candidates, scores, strict=True):
        right = [final_answer(text) == problem.answer for text in texts]
        rows.append([np.mean(right[1:]), right[0], right[int(np.argmax(score))], any(right)])
    return np.array(rows, dtype=np.float64)
