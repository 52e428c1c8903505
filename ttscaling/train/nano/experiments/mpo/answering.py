"""Questions answered and judged in torch: what `internvl3 eval nano` measures, without a server.

For experiments with many policies. A question has 8 candidates: a greedy one and seven sampled ones. Sampling
is as hot as the served checkpoint's default, delta is 1.

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
    """The sampling temperature that a checkpoint is served with unless a request names one."""
    return float(json.loads((checkpoint / "generation_config.json").read_text())["temperature"])


def answer(
    model: V2PEInternVL, encoder: NanoEncoder, asked: Sequence[Problem], *, temperature: float, seed: int
) -> list[tuple[str, ...]]:
    """Eight candidates for each question, the greedy one first."""
    generator = torch.Generator().manual_seed(seed)
    candidates: list[tuple[str, ...]] = []
    for start in track(range(0, len(asked), CHUNK), "answers", transient=True):
        prompts = [
            encoder.prompt(problem.question, problem.image, delta=1.0)
            for problem in asked[start : start + CHUNK]
        ]
        greedy, sampled = (
            sample_continuations(
                model,
                prompts,
                n=n,
                temperature=heat,
                max_tokens=MAX_TOKENS,
                eos_token=encoder.end_token,
                generator=generator,
            )
            for n, heat in ((1, 0.0), (NUM_SAMPLED, temperature))
        )
        candidates += [
            tuple(encoder.tokenizer.decode(reply) for reply in (*one, *seven))
            for one, seven in zip(greedy, sampled, strict=True)
        ]
    return candidates


def judge(
    critic: V2PEInternVL,
    encoder: NanoEncoder,
    asked: Sequence[Problem],
    candidates: Sequence[Sequence[str]],
) -> list[list[float]]:
    """The mean step score of every candidate."""
    scores = []
    for problem, texts in track(list(zip(asked, candidates, strict=True)), "judgements", transient=True):
        steps = score_candidates(critic, encoder, problem.question, problem.image, texts)
        scores.append([float(np.mean(step)) for step in steps])
    return scores


def figures(
    asked: Sequence[Problem], candidates: Sequence[Sequence[str]], scores: Sequence[Sequence[float]]
) -> NDArray[np.float64]:
    """What each question's candidates are worth, (N, M), each in [0, 1]; equal scores: the first wins."""
    rows = []
    for problem, texts, score in zip(asked, candidates, scores, strict=True):
        right = [final_answer(text) == problem.answer for text in texts]
        rows.append([np.mean(right[1:]), right[0], right[int(np.argmax(score))], any(right)])
    return np.array(rows, dtype=np.float64)
