"""Rollouts of the nano policy on training drawings, with Monte-Carlo step labels (VisualPRM section 3.1).

Several solutions are sampled per problem; from every prefix of their steps the policy continues several
times, and a step's label is the share of continuations that reach the right answer (`mc`). Equal prefixes of
one problem are continued once.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from ttscaling.answers.final_answer import final_answer
from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.nano_tasks.problems import KINDS, SheetQuestion, draw_task, random_task, solve
from ttscaling.nano_tasks.sheets import Sheet
from ttscaling.steps import SEPARATOR, split_steps
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.sampling import sample_continuations
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.samples.sample import Sample

MAX_TOKENS = 120
CHUNK = 48  # problems sampled together


@dataclass(frozen=True, kw_only=True)
class LabelledRollout:
    """One sampled solution; `mc[i]` is the share of right answers continued from steps 0..i."""

    task: SheetQuestion
    steps: tuple[str, ...]
    mc: tuple[float, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "LabelledRollout":
        record = json.loads(line)
        task = record["task"]
        sheet = Sheet(tuple(tuple(row) for row in task["sheet"]["rows"]))
        return cls(
            task=SheetQuestion(sheet, task["kind"], tuple(task["lines"]), task["smallest"]),
            steps=tuple(record["steps"]),
            mc=tuple(record["mc"]),
        )


def save_rollouts(rollouts: Iterable[LabelledRollout], path: Path) -> None:
    """One JSON object a line."""
    path.write_text("".join(rollout.to_json() + "\n" for rollout in rollouts))


def load_rollouts(path: Path) -> list[LabelledRollout]:
    """What `save_rollouts` wrote."""
    return [LabelledRollout.from_json(line) for line in path.read_text().splitlines()]


def drawn_tasks(n: int, seed: int) -> Iterator[tuple[SheetQuestion, Image.Image]]:
    """n tasks with pictures of training drawings, the kinds in turn."""
    rng = np.random.default_rng([seed, 3])
    pool = digit_pool("train")
    for number in range(n):
        task = random_task(rng, kind=KINDS[number % len(KINDS)])
        yield task, draw_task(task, pool, rng)


class TorchSampler:
    """The policy as rollouts need it: texts that continue an answer's beginning."""

    def __init__(
        self,
        model: V2PEInternVL,
        encoder: NanoEncoder,
        *,
        temperature: float,
        seed: int,
    ):
        self.model = model
        self.encoder = encoder
        self.temperature = temperature
        self.generator = torch.Generator().manual_seed(seed)

    def continue_texts(
        self, prompts: Sequence[tuple[SheetQuestion, Image.Image, str]], *, n: int
    ) -> list[list[str]]:
        """n continuations of each (task, picture, beginning), without the beginning."""
        samples = [self._prompt(*prompt) for prompt in prompts]
        replies = sample_continuations(
            self.model,
            samples,
            n=n,
            temperature=self.temperature,
            max_tokens=MAX_TOKENS,
            eos_token=self.encoder.end_token,
            generator=self.generator,
        )
        return [[self.encoder.tokenizer.decode(reply) for reply in group] for group in replies]

    def _prompt(self, task: SheetQuestion, image: Image.Image, beginning: str) -> Sample:
        prompt = self.encoder.prompt(task.question, image, delta=1.0)
        return prompt.followed_by(self.encoder.ids(beginning)) if beginning else prompt


def monte_carlo(
    sampler: TorchSampler,
    drawn: Sequence[tuple[SheetQuestion, Image.Image]],
    *,
    num_solutions: int,
    num_continuations: int,
) -> list[LabelledRollout]:
    """Labelled rollouts of some problems."""
    solutions = sampler.continue_texts([(task, image, "") for task, image in drawn], n=num_solutions)
    distinct = [sorted({split_steps(text) for text in texts}) for texts in solutions]
    prefixes = sorted(
        {
            (number, steps[:length])
            for number, group in enumerate(distinct)
            for steps in group
            for length in range(1, len(steps))
        },
        key=lambda prefix: (len(prefix[1]), prefix),  # like lengths together: less padding
    )
    scores: dict[tuple[int, tuple[str, ...]], float] = {}
    for start in range(0, len(prefixes), CHUNK):
        chunk = prefixes[start : start + CHUNK]
        continued = sampler.continue_texts(
            [(*drawn[number], SEPARATOR.join(steps)) for number, steps in chunk], n=num_continuations
        )
        for (number, steps), texts in zip(chunk, continued, strict=True):
            answer = solve(drawn[number][0]).answer
            beginning = SEPARATOR.join(steps)
            scores[number, steps] = float(
                np.mean([final_answer(beginning + text) == answer for text in texts])
            )
    for number, group in enumerate(distinct):
        answer = solve(drawn[number][0]).answer
        scores |= {(number, steps): float(final_answer(SEPARATOR.join(steps)) == answer) for steps in group}
    return [
        LabelledRollout(
            task=drawn[number][0],
            steps=steps,
            mc=tuple(scores[number, steps[:length]] for length in range(1, len(steps) + 1)),
        )
        for number, group in enumerate(distinct)
        for steps in group
    ]


def make_rollouts(
    sampler: TorchSampler,
    *,
    num_problems: int,
    num_solutions: int,
    num_continuations: int,
    seed: int,
    part: int,
    parts: int,
) -> list[LabelledRollout]:
    """This process's part of the rollouts."""
    drawn = list(drawn_tasks(num_problems, seed))[part::parts]
    rollouts: list[LabelledRollout] = []
    for start in track(range(0, len(drawn), CHUNK), "rollouts", disable=part > 0):
        rollouts += monte_carlo(
            sampler,
            drawn[start : start + CHUNK],
            num_solutions=num_solutions,
            num_continuations=num_continuations,
        )
    return rollouts
