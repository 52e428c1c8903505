"""Train nano's policy to note the events of video segments, for `internvl3 bench video-answers`.

    python -m ttscaling.train.nano.experiments.video_notes.program --directory runs/nano-video

The shipped policy never saw more than 300 tokens, a video or JSON. This one starts from it, and forgets
nano's questions. So it serves the bench alone, and isn't shipped.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.train.nano.network.architecture import load_checkpoint, save_checkpoint
from ttscaling.train.nano.network.encoder import NanoEncoder, random_delta
from ttscaling.train.nano.network.padding import Batch, collate
from ttscaling.train.nano.network.sampling import sample_continuations
from ttscaling.train.nano.network.tokenizer import load_tokenizer
from ttscaling.train.nano.stages.policy import LanguageLoss
from ttscaling.train.nano.stages.training_loop import Schedule, make_accelerator, train

from .samples import notes_sample, random_part

NANO = Path(__file__).parents[5] / "model" / "nano" / "policy"
SAMPLING = {"temperature": 1.0, "top_p": 1.0}
QUESTIONS = 24  # held-out parts that are noted now and then
EVERY = 100  # steps between two reports


@dataclass(frozen=True)
class Lesson:
    """What is trained up to a share of the steps: frames of a part, most events, samples in a batch, text."""

    until: float
    frames: tuple[int, int]
    most: int
    batch: int
    brief: bool


LESSONS = (
    Lesson(0.2, (4, 4), 1, 24, True),
    Lesson(0.4, (6, 6), 2, 24, True),
    Lesson(0.55, (10, 10), 3, 12, True),
    Lesson(1.0, (11, 13), 3, 12, False),
)


def lesson_at(progress: float) -> Lesson:
    """Return the lesson at a share of the training."""
    return next(lesson for lesson in LESSONS if progress < lesson.until or lesson is LESSONS[-1])


def train_notes(directory: Path, *, steps: int, seed: int) -> None:
    """Train from the shipped policy, and write the checkpoint to `directory`/policy."""
    accelerator = make_accelerator()
    tokenizer, model = load_tokenizer(NANO), load_checkpoint(NANO)
    encoder, pool, heldout = NanoEncoder(tokenizer), digit_pool("train"), digit_pool("heldout")

    def batch_at(step: int) -> Batch:
        rng = np.random.default_rng([seed, 8, step])
        lesson = lesson_at(step / steps)
        low, high = lesson.frames
        parts = [
            random_part(rng, pool, int(rng.integers(low, high + 1)), lesson.most) for _ in range(lesson.batch)
        ]
        return collate(
            [notes_sample(encoder, part, delta=random_delta(rng), brief=lesson.brief) for part in parts]
        )

    def report(step: int, figures: Mapping[str, float]) -> None:
        if step % EVERY and step != steps:
            return
        rng, lesson = np.random.default_rng([seed, 9, step]), lesson_at((step - 1) / steps)
        parts = [random_part(rng, heldout, lesson.frames[1], lesson.most) for _ in range(QUESTIONS)]
        prompts = [
            notes_sample(encoder, part, delta=1.0, brief=lesson.brief, answered=False) for part in parts
        ]
        replies = sample_continuations(
            model, prompts, n=1, temperature=0, max_tokens=128, eos_token=encoder.end_token
        )
        texts = [tokenizer.decode(reply[0]) for reply in replies]
        right = sum(text == part.notes for text, part in zip(texts, parts, strict=True))
        accelerator.print(f"step {step} loss {figures['loss']:.3f} right {right} of {QUESTIONS}")

    loss = LanguageLoss(model, accelerator)
    schedule = Schedule(steps=steps, peak=1.5e-3, warmup=min(30, steps), final=0.1)
    train(loss, batch_at, schedule, accelerator=accelerator, title="notes", on_step=report)
    if accelerator.is_main_process:
        save_checkpoint(model, tokenizer, directory / "policy", sampling=SAMPLING)


def main() -> None:
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    train_notes(arguments.directory, steps=arguments.steps, seed=arguments.seed)


if __name__ == "__main__":
    main()
