"""Sample rollouts of the nano policy on training drawings, with Monte-Carlo scores of their steps.

The method is that of VisualPRM (arXiv 2503.10291, section 3.1). The policy writes several solutions of each
problem. Then it continues every prefix of their steps several times, and the score of a step (`mc`) is the
share of continuations that reach the right answer. Equal prefixes of one problem are continued only once.
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
    """A sampled solution of a question; `mc[i]` is the share of continuations of steps 0..i that are right.

    The names of the fields are keys in `rollouts.jsonl`.
    """

    task: SheetQuestion
    steps: tuple[str, ...]
    mc: tuple[float, ...]

    def to_json(self) -> str:
        """Return the rollout as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "LabelledRollout":
        """Return the rollout that `to_json` wrote."""
        record = json.loads(line)
        task = record["task"]
        sheet = Sheet(tuple(tuple(row) for row in task["sheet"]["rows"]))
        return cls(
            task=SheetQuestion(sheet, task["kind"], tuple(task["lines"]), task["smallest"]),
            steps=tuple(record["steps"]),
            mc=tuple(record["mc"]),
        )


def save_rollouts(rollouts: Iterable[LabelledRollout], path: Path) -> None:
    """Write rollouts into a file, one JSON object a line."""
    path.write_text("".join(rollout.to_json() + "\n" for rollout in rollouts))


def load_rollouts(path: Path) -> list[LabelledRollout]:
    """Return the rollouts of a file that `save_rollouts` wrote."""
    return [LabelledRollout.from_json(line) for line in path.read_text().splitlines()]


def by_problem(rollouts: Sequence[LabelledRollout]) -> list[list[LabelledRollout]]:
    """Return rollouts grouped by their problem.

    Training draws a problem first and then one of its rollouts, so that a problem with many rollouts isn't
    drawn more often. A problem that no continuation solved is left out, because its steps all have the same
    label. If no problem was solved, all of them stay.
    """
    groups: dict[SheetQuestion, list[LabelledRollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.task, []).append(rollout)
    solved = [group for group in groups.values() if any(any(rollout.mc) for rollout in group)]
    return solved or list(groups.values())


def drawn_questions(n: int, seed: int) -> Iterator[tuple[SheetQuestion, Image.Image]]:
    """Yield n questions of all kinds in turn, each with a picture made of training drawings."""
    rng = np.random.default_rng([seed, 3])
    pool = digit_pool("train")
    for number in range(n):
        question = random_task(rng, kind=KINDS[number % len(KINDS)])
        yield question, draw_task(question, pool, rng)


class TorchSampler:
    """Samples answers of the policy, or continuations of an answer's beginning.

    The sampler has a random generator, so each call continues the sequence of draws.
    """

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
        """Return n continuations of each (question, picture, beginning), without the beginning."""
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

    def _prompt(self, question: SheetQuestion, image: Image.Image, beginning: str) -> Sample:
        prompt = self.encoder.prompt(question.question, image, delta=1.0)
        return prompt.followed_by(self.encoder.ids(beginning)) if beginning else prompt


def monte_carlo(
    sampler: TorchSampler,
    questions: Sequence[tuple[SheetQuestion, Image.Image]],
    *,
    num_solutions: int,
    num_continuations: int,
) -> list[LabelledRollout]:
    """Return the distinct solutions that the policy writes for some questions, with their step scores.

    A solution's last score is 1 if its answer is right, else 0.
    """
    solutions = sampler.continue_texts(
        [(question, image, "") for question, image in questions], n=num_solutions
    )
    distinct = [sorted({split_steps(text) for text in texts}) for texts in solutions]
    prefixes = sorted(
        {
            (number, steps[:length])
            for number, group in enumerate(distinct)
            for steps in group
            for length in range(1, len(steps))
        },
        key=lambda prefix: (len(prefix[1]), prefix),  # prefixes of equal length need no padding
    )
    scores: dict[tuple[int, tuple[str, ...]], float] = {}
    for start in range(0, len(prefixes), CHUNK):
        chunk = prefixes[start : start + CHUNK]
        continued = sampler.continue_texts(
            [(*questions[number], SEPARATOR.join(steps)) for number, steps in chunk], n=num_continuations
        )
        for (number, steps), texts in zip(chunk, continued, strict=True):
            answer = solve(questions[number][0]).answer
            beginning = SEPARATOR.join(steps)
            scores[number, steps] = float(
                np.mean([final_answer(beginning + text) == answer for text in texts])
            )
    for number, group in enumerate(distinct):
        answer = solve(questions[number][0]).answer
        scores |= {(number, steps): float(final_answer(SEPARATOR.join(steps)) == answer) for steps in group}
    return [
        LabelledRollout(
            task=questions[number][0],
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
    """Return part `part` of `parts` of the rollouts, the one that this process makes."""
    questions = list(drawn_questions(num_problems, seed))[part::parts]
    rollouts: list[LabelledRollout] = []
    for start in track(range(0, len(questions), CHUNK), "rollouts", disable=part > 0):
        rollouts += monte_carlo(
            sampler,
            questions[start : start + CHUNK],
            num_solutions=num_solutions,
            num_continuations=num_continuations,
        )
    return rollouts
