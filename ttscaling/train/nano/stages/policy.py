"""Stages 1 and 2: pre-train the nano policy on text and pictures together, then fine-tune it.

The pre-training is native multimodal pre-training (InternVL3, section 2.2). It trains all parts together, on
one text-only batch for every three multimodal ones. The loss is on text tokens only, with square-averaged
weights, and each image draws a V2PE delta. The fine-tuning is on questions about sheets, with the loss on the
answers.

Shapes: B samples, T tokens, D width, S selected tokens, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.nano_tasks.arithmetic import random_exercise
from ttscaling.nano_tasks.digits import DigitPool, digit_pool
from ttscaling.nano_tasks.problems import (
    KINDS,
    SHARE_OF_LARGE,
    Kind,
    Problem,
    SheetQuestion,
    problems,
    random_task,
    solve,
)
from ttscaling.nano_tasks.sheets import draw_sheet
from ttscaling.steps import SEPARATOR
from ttscaling.train.nano.network.encoder import NanoEncoder, random_delta
from ttscaling.train.nano.network.padding import Batch, collate
from ttscaling.train.nano.network.sampling import sample_continuations
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.objectives.losses import weighted_cross_entropy
from ttscaling.train.samples.sample import Sample

from .training_loop import Schedule, global_mean, train

BATCH = 40  # samples per process and step
SHORT_KINDS: tuple[Kind, ...] = ("row sum", "column sum", "extreme", "multiply-add")
LONG_KINDS: tuple[Kind, ...] = ("two rows", "difference")
READ_QUESTION = "Read the sheet."


class LanguageLoss(nn.Module):
    """The square-averaged next-token loss of a model, normalised over the batches of all processes."""

    def __init__(self, model: V2PEInternVL, accelerator: Accelerator):
        super().__init__()
        self.model = model
        self.accelerator = accelerator

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        hidden_BTD = self.model.hidden_states(**batch.inputs)
        chosen_BT = batch.weight_BT > 0
        weight_S = batch.weight_BT[chosen_BT]
        logits_SV = self.model.lm_head(hidden_BTD[chosen_BT])
        loss = weighted_cross_entropy(logits_SV, batch.target_BT[chosen_BT], weight_S)
        loss = loss / global_mean(weight_S.sum(), self.accelerator)
        return loss, {"loss": loss.item()}


def read_sheet(question: SheetQuestion) -> str:
    """Return all rows of the question's sheet as text, the answer to READ_QUESTION."""
    rows = (
        f"Row {number}: {' '.join(map(str, row))}" for number, row in enumerate(question.sheet.rows, start=1)
    )
    return SEPARATOR.join(rows)


def sheet_samples(
    encoder: NanoEncoder,
    pool: DigitPool,
    rng: np.random.Generator,
    *,
    kinds: Sequence[Kind] | None,
    large: bool,
) -> list[Sample]:
    """Return a batch of answered questions about sheets of one size.

    The kind of each question is drawn from `kinds`. With None, each sample reads its sheet instead.
    """
    samples = []
    for _ in range(BATCH):
        kind = kinds[int(rng.integers(len(kinds)))] if kinds else None
        question = random_task(rng, kind=kind)
        text, answer = (
            (question.question, solve(question).text) if kinds else (READ_QUESTION, read_sheet(question))
        )
        image = draw_sheet(question.sheet, pool, rng, large=large)
        samples.append(encoder.answered(text, answer, image, delta=random_delta(rng)))
    return samples


def text_samples(encoder: NanoEncoder, rng: np.random.Generator) -> list[Sample]:
    """Return a batch of text-only arithmetic, with the loss on all text."""
    exercises = [random_exercise(rng) for _ in range(BATCH)]
    return [encoder.answered(e.question, e.solve().text, None, delta=1.0, all_text=True) for e in exercises]


def reading_share(progress: float) -> float:
    """Return the share of multimodal batches that read sheets: 1 up to 20% of the run, 0.06 from 35% on."""
    return float(np.interp(progress, (0.20, 0.35), (1.0, 0.06)))


def pretrain(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    accelerator: Accelerator,
    *,
    steps: int,
    seed: int,
) -> None:
    """Pre-train the model in place."""
    pool = digit_pool("train")

    def batch_at(step: int) -> Batch:
        # All processes take the same kind of batch in a step.
        shared_rng = np.random.default_rng([seed, 1, step])
        own_rng = np.random.default_rng([seed, 1, step, accelerator.process_index])
        # Small sheets come first. Their only tile shows all digits, as the thumbnail of a large sheet does.
        large = step > 0.20 * steps and shared_rng.random() < SHARE_OF_LARGE
        if step % 4 == 3:
            samples = text_samples(encoder, own_rng)
        elif shared_rng.random() < reading_share(step / steps):
            samples = sheet_samples(encoder, pool, own_rng, kinds=None, large=large)
        else:
            samples = sheet_samples(encoder, pool, own_rng, kinds=similar_kinds(shared_rng), large=large)
        return collate(samples)

    schedule = Schedule(steps=steps, peak=2e-3, warmup=min(50, steps), final=0.3)
    run(model, encoder, accelerator, batch_at, schedule, title="pre-train")


def finetune(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    accelerator: Accelerator,
    *,
    steps: int,
    seed: int,
) -> None:
    """Fine-tune the model in place on questions about sheets."""
    pool = digit_pool("train")

    def batch_at(step: int) -> Batch:
        shared_rng = np.random.default_rng([seed, 2, step])
        own_rng = np.random.default_rng([seed, 2, step, accelerator.process_index])
        large = shared_rng.random() < SHARE_OF_LARGE
        samples = sheet_samples(encoder, pool, own_rng, kinds=similar_kinds(shared_rng), large=large)
        return collate(samples)

    schedule = Schedule(steps=steps, peak=6e-4, warmup=1)
    run(model, encoder, accelerator, batch_at, schedule, title="fine-tune")


def similar_kinds(rng: np.random.Generator) -> tuple[Kind, ...]:
    """Return kinds whose answers are about equally long.

    Padding a batch of all kinds would cost a quarter of the time.
    """
    return SHORT_KINDS if rng.random() < 0.55 else LONG_KINDS


def run(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    accelerator: Accelerator,
    batch_at: Callable[[int], Batch],
    schedule: Schedule,
    *,
    title: str,
) -> None:
    """Minimise the language loss in place, and print the greedy accuracy every 200 steps and at the end."""

    def report(step: int, figures: Mapping[str, float]) -> None:
        if step % 200 == 0 or step == schedule.steps:
            greedy = greedy_accuracy(model, encoder, seed=step)
            accelerator.print(f"{title} step {step} loss {figures['loss']:.3f} greedy {greedy}")

    loss = LanguageLoss(model, accelerator)
    train(loss, batch_at, schedule, accelerator=accelerator, title=title, on_step=report)


def answer_greedily(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    questions: Sequence[Problem],
    *,
    max_tokens: int = 120,
) -> list[str]:
    """Return the model's greedy answers to questions, with delta 1."""
    prompts = [encoder.prompt(problem.question, problem.image, delta=1.0) for problem in questions]
    replies = sample_continuations(
        model, prompts, n=1, temperature=0, max_tokens=max_tokens, eos_token=encoder.end_token
    )
    return [encoder.tokenizer.decode(reply[0]) for reply in replies]


def greedy_accuracy(
    model: V2PEInternVL, encoder: NanoEncoder, *, seed: int, n: int = 120
) -> dict[str, float]:
    """Return the share of right greedy answers by kind, and for all questions.

    The questions are about training drawings, so the figures show progress and are no evaluation.
    """
    questions = list(problems("train", n, seed))
    training = model.training
    model.eval()
    texts = answer_greedily(model, encoder, questions)
    model.train(training)
    right = [
        text.endswith(f"Final answer: {problem.answer}")
        for text, problem in zip(texts, questions, strict=True)
    ]
    by_kind = {
        kind: [r for r, problem in zip(right, questions, strict=True) if problem.kind == kind]
        for kind in KINDS
    }
    return {kind: round(float(np.mean(group)), 2) for kind, group in by_kind.items()} | {
        "all": float(np.mean(right))
    }
