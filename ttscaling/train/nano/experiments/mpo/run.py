"""MPO on nano: pairs of the policy's own solutions, every variant of the loss, and what each is worth.

The pairs are MMPR's (right solutions preferred to wrong ones, and to those that state no answer), on training
drawings; the training is `internvl3 train mpo`. The learning rate is chosen on training drawings too. Only
then are the variants measured on held-out ones: docs/decisions/0028.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

import model
from ttscaling.answers.final_answer import final_answer
from ttscaling.nano_tasks.problems import Problem, heldout, problems, solve
from ttscaling.records.jsonl import write_records
from ttscaling.records.meta import DataSet, write_meta
from ttscaling.records.pairs import PairRecord, pair_json
from ttscaling.records.questions import Question
from ttscaling.reports.markdown import write_block
from ttscaling.steps import SEPARATOR, split_steps
from ttscaling.train.nano.network.architecture import load_checkpoint, write_json
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import load_tokenizer
from ttscaling.train.nano.stages.monte_carlo import CHUNK, TorchSampler, drawn_tasks
from ttscaling.train.rollouts.pairing import Solution, correctness_pairs, format_pairs
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import make_accelerator
from ttscaling.train.settings.kinds import MpoWeights
from ttscaling.train.settings.recipe import Recipe

from .answering import METRICS, answer, figures, judge, temperature_of
from .page import draw, mpo_lines, summary

PUBLISHED = MpoWeights()
ALL = "all terms"
VARIANTS: Mapping[str, MpoWeights] = {
    ALL: PUBLISHED,
    "without preference": replace(PUBLISHED, preference=0.0),
    "without quality": replace(PUBLISHED, quality=0.0),
    "without generation": replace(PUBLISHED, generation=0.0),
    "preference alone": replace(PUBLISHED, quality=0.0, generation=0.0),
    "quality alone": replace(PUBLISHED, preference=0.0, generation=0.0),
    "generation alone": replace(PUBLISHED, preference=0.0, quality=0.0),
}
HELDOUT_SEED = 777  # the questions of `internvl3 eval nano`
SEARCH_SEED = 555  # questions on training drawings, for the learning rate
RATES = (1e-4, 2e-4)
PACKS = 6  # of a step: 70 pairs; with 24 the noise of a step outweighs what it teaches


@dataclass(frozen=True, kw_only=True)
class MpoPlan:
    """What is run. Every seed has pairs of its own, of solutions sampled at `temperature`.

    `rates` are the learning rates to choose from. All terms are trained with every seed, the other variants
    with the first `ablation_seeds` of them (None: every one). Raises ValueError for what can't be.
    """

    directory: Path
    policy: Path
    critic: Path
    seeds: tuple[int, ...] = (1, 2, 3)
    rates: tuple[float, ...] = RATES
    variants: tuple[str, ...] = tuple(VARIANTS)
    ablation_seeds: int | None = None
    questions: int = 600
    problems: int = 10_000
    solutions: int = 8
    pairs_of_question: int = 4
    temperature: float = 1.3
    epochs: float = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown:
            raise ValueError(f"no variant {', '.join(unknown)}: choose of {', '.join(VARIANTS)}")
        for checkpoint in (self.policy, self.critic):
            if not (checkpoint / "config.json").exists():
                raise ValueError(f"there is no checkpoint in {checkpoint}: name a nano policy and its critic")


def embedded(name: str) -> Path:
    """The folder of the checkpoint that comes with the package."""
    return Path(model.__file__).parent / "nano" / name


def run_plan(plan: MpoPlan, page: Path | None) -> dict[str, Any]:
    """Everything; what is there already is kept. Returns the report, written into `page` too."""
    torch.set_num_threads(1)  # tensors this small gain nothing from more
    console = Console(stderr=True)
    for seed in plan.seeds:
        console.print(f"seed {seed}: {make_pairs(plan, seed)} pairs")
    tried = {f"{rate:g}": search(plan, rate) for rate in plan.rates}
    rate = float(max(tried, key=lambda name: tried[name]))
    asked = list(heldout(plan.questions, HELDOUT_SEED))
    before = [
        measured(plan, plan.policy, seed_folder(plan, seed) / "before.json", asked, seed=seed)
        for seed in plan.seeds
    ]
    after, curves = {}, {}
    for name in plan.variants:
        values = []
        for seed in plan.seeds if name == ALL else plan.seeds[: plan.ablation_seeds]:
            console.print(f"{name}, seed {seed}")
            output = trained(plan, name, rate=rate, seed=seed)
            values.append(measured(plan, output / "model", output / "heldout.json", asked, seed=seed))
            curves[name] = read_log(output)  # of the last seed
        after[name] = np.stack(values)
    report = summary(np.stack(before), after, seed=HELDOUT_SEED) | {"rates": tried, "rate": rate}
    write_json(plan.directory / "report.json", report)
    if page is not None:
        plot = page.with_suffix(".png")
        draw(report, curves, plot)
        write_block(page, "nano-mpo", mpo_lines(report, plot.name))
    return report


def seed_folder(plan: MpoPlan, seed: int) -> Path:
    """Where a seed's pairs and runs are."""
    return plan.directory / f"seed-{seed}"


def make_pairs(plan: MpoPlan, seed: int) -> int:
    """The policy's solutions of training problems as preference pairs, with a meta.json; their number."""
    folder = seed_folder(plan, seed)
    annotation = folder / "pairs.jsonl"
    if not (folder / "meta.json").exists():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        encoder = NanoEncoder(load_tokenizer(plan.policy))
        start = load_checkpoint(plan.policy)
        sampler = TorchSampler(start, encoder, temperature=plan.temperature, seed=seed)
        rng = np.random.default_rng([seed, 4])
        drawn = list(drawn_tasks(plan.problems, seed))
        pairs: list[PairRecord] = []
        for first in track(range(0, len(drawn), CHUNK), "solutions", transient=True):
            prompts = [(task, image, "") for task, image in drawn[first : first + CHUNK]]
            texts = sampler.continue_texts(prompts, n=plan.solutions)
            for number, (task, image, _) in enumerate(prompts):
                name, known = f"{first + number}.png", solve(task).answer
                image.save(folder / "images" / name)
                solutions = without_luck(texts[number], known)
                question = Question(text=task.question, answer=known, images=(name,))
                for made in (correctness_pairs, format_pairs):
                    pairs += map(until_slip, made(question, solutions, rng, limit=plan.pairs_of_question))
        write_records(annotation, map(pair_json, pairs))
        data = DataSet(name="nano", root=folder / "images", annotation=annotation, length=len(pairs))
        write_meta(folder / "meta.json", [data], base=folder)
    return len(annotation.read_text().splitlines())


def without_luck(texts: Sequence[str], known: str) -> list[Solution]:
    """A question's solutions: the wrong ones, and the right one that was written most often, if twice.

    Pairs are made of distinct texts, so a text that is right by luck, by slips that make up for each other,
    would count as much as the one that the policy usually writes: at temperature 1.3 a quarter of the chosen
    responses were such that it writes less than once in seven times.
    """
    solutions = [Solution(text=t, answer=a, right=a == known) for t in texts for a in [final_answer(t)]]
    right = Counter(solution.text for solution in solutions if solution.right).most_common(1)
    kept = {text for text, count in right if count > 1}
    return [solution for solution in solutions if not solution.right or solution.text in kept]


def until_slip(pair: PairRecord) -> PairRecord:
    """The pair, its rejected response ended with the first step that the chosen one doesn't have.

    What follows a slip follows from it rightly: `1+4=5` after a 9 that was read as 1. Rejected with the rest,
    those steps unlearn the arithmetic.
    """
    chosen, rejected = (split_steps(text) for text in (pair.chosen, pair.rejected))
    same = sum(1 for _ in takewhile(lambda steps: steps[0] == steps[1], zip(chosen, rejected, strict=False)))
    return replace(pair, rejected=SEPARATOR.join(rejected[: same + 1]))


def trained(plan: MpoPlan, name: str, *, rate: float, seed: int) -> Path:
    """`internvl3 train mpo` on a seed's pairs; the run's folder, with the trained policy in model/."""
    pairs = seed_folder(plan, seed)
    output = pairs / f"{name.replace(' ', '-')}-{rate:g}"
    if (output / "model").exists():
        return output
    # fp32 and no recomputing: a model this small gains nothing from less memory.
    recipe = Recipe(
        epochs=plan.epochs,
        batch=PACKS,
        learning_rate=rate,
        warmup=0.1,
        max_tokens=1536,
        max_tiles=96,
        precision="fp32",
        recompute=False,
        seed=seed,
    )
    job = Job(
        kind="mpo",
        model=plan.policy,
        data=pairs / "meta.json",
        base=pairs,
        output=output,
        recipe=recipe,
        mpo=VARIANTS[name],
    )
    references = pairs / "references"  # the same for every loss and rate
    if references.exists():
        shutil.copytree(references, output / "references", dirs_exist_ok=True)
    run_job(job, make_accelerator(recipe.precision), resume=True)
    shutil.copytree(output / "references", references, dirs_exist_ok=True)
    return output


def search(plan: MpoPlan, rate: float) -> float:
    """pass@1 on training drawings after all terms at a learning rate, with the first seed's pairs."""
    seed = plan.seeds[0]
    output = trained(plan, ALL, rate=rate, seed=seed)
    asked = list(problems("train", plan.questions // 2, SEARCH_SEED))
    values_NM = measured(plan, output / "model", output / "search.json", asked, seed=seed)
    return float(values_NM[:, METRICS.index("pass@1")].mean())


def measured(
    plan: MpoPlan, policy: Path, kept: Path, asked: Sequence[Problem], *, seed: int
) -> NDArray[np.float64]:
    """A policy's figures of each question, (N, M), kept in a file."""
    if not kept.exists():
        encoder = NanoEncoder(load_tokenizer(plan.policy))
        temperature = temperature_of(plan.policy)
        candidates = answer(load_checkpoint(policy), encoder, asked, temperature=temperature, seed=seed)
        scores = judge(load_checkpoint(plan.critic), encoder, asked, candidates)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(figures(asked, candidates, scores).tolist()) + "\n")
    return np.array(json.loads(kept.read_text()))


def read_log(output: Path) -> list[dict[str, float]]:
    """The figures of every step of a run."""
    lines = (json.loads(line) for line in (output / "log.jsonl").read_text().splitlines())
    return [line for line in lines if "preferred" in line]
