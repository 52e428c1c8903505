"""`internvl3 train nano-mpo` measures what MPO and each term of its loss are worth on nano.

The pairs are made as in MMPR, from the policy's own solutions about training drawings: right solutions are
preferred to wrong ones and to those that state no answer. The training is that of `internvl3 train mpo`. The
learning rate is chosen on training drawings too, and then the variants are measured on held-out drawings
(docs/decisions/0028).

Shapes: N questions, M figures of `answering.METRICS`.
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
from ttscaling.train.nano.stages.monte_carlo import CHUNK, TorchSampler, drawn_questions
from ttscaling.train.rollouts.pairing import Solution, correctness_pairs, format_pairs
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import make_accelerator
from ttscaling.train.settings.kinds import MpoWeights
from ttscaling.train.settings.recipe import Recipe

from .answering import METRICS, answer, figures, mean_scores, temperature_of
from .page import draw, mpo_lines, read_log, summary

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
PACKS = 6  # packs a step, about 70 pairs; steps of 24 pairs or fewer did damage (docs/results/mpo.md)


@dataclass(frozen=True, kw_only=True)
class MpoPlan:
    """The settings of the experiment.

    Every seed makes pairs of new solutions, sampled at `temperature`. The learning rate is chosen from
    `rates`. "all terms" is trained with every seed, and the other variants with the first `ablation_seeds`
    seeds (None: all of them). There are `questions` held-out questions, and pairs are made of `problems`
    training problems. Raises ValueError for an unknown variant and for a folder without a checkpoint.
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
            raise ValueError(f"there is no variant {', '.join(unknown)}: choose from {', '.join(VARIANTS)}")
        for checkpoint in (self.policy, self.critic):
            if not (checkpoint / "config.json").exists():
                raise ValueError(f"there is no checkpoint in {checkpoint}: name a nano policy and its critic")


def embedded(name: str) -> Path:
    """Return the folder of a checkpoint that comes with the package: `policy` or `critic`."""
    return Path(model.__file__).parent / "nano" / name


def run_plan(plan: MpoPlan, page: Path | None) -> dict[str, Any]:
    """Run the experiment and return its report; with a page, write the report into it too.

    Outputs of an earlier run in the plan's directory are kept and not made again.
    """
    torch.set_num_threads(1)  # more threads don't make tensors this small any faster
    console = Console(stderr=True)
    for seed in plan.seeds:
        console.print(f"seed {seed}: {make_pairs(plan, seed)} pairs")
    scores_of_rates = {f"{rate:g}": score_rate(plan, rate) for rate in plan.rates}
    rate = float(max(scores_of_rates, key=lambda name: scores_of_rates[name]))
    questions = list(heldout(plan.questions, HELDOUT_SEED))
    before = [
        measure(plan, plan.policy, seed_folder(plan, seed) / "before.json", questions, seed=seed)
        for seed in plan.seeds
    ]
    after, curves = {}, {}
    for name in plan.variants:
        values = []
        for seed in plan.seeds if name == ALL else plan.seeds[: plan.ablation_seeds]:
            console.print(f"{name}, seed {seed}")
            output = train_variant(plan, name, rate=rate, seed=seed)
            values.append(measure(plan, output / "model", output / "heldout.json", questions, seed=seed))
            curves[name] = read_log(output)  # the plot shows the last seed
        after[name] = np.stack(values)
    report = summary(np.stack(before), after, seed=HELDOUT_SEED)
    report |= {"rates": scores_of_rates, "rate": rate}
    write_json(plan.directory / "report.json", report)
    if page is not None:
        plot = page.with_suffix(".png")
        draw(report, curves, plot)
        write_block(page, "nano-mpo", mpo_lines(report, plot.name))
    return report


def seed_folder(plan: MpoPlan, seed: int) -> Path:
    """Return the folder of a seed's pairs and runs."""
    return plan.directory / f"seed-{seed}"


def make_pairs(plan: MpoPlan, seed: int) -> int:
    """Write preference pairs of the policy's solutions, with a meta.json, and return their number."""
    folder = seed_folder(plan, seed)
    annotation = folder / "pairs.jsonl"
    if not (folder / "meta.json").exists():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        encoder = NanoEncoder(load_tokenizer(plan.policy))
        start = load_checkpoint(plan.policy)
        sampler = TorchSampler(start, encoder, temperature=plan.temperature, seed=seed)
        rng = np.random.default_rng([seed, 4])
        questions = list(drawn_questions(plan.problems, seed))
        pairs: list[PairRecord] = []
        for first in track(range(0, len(questions), CHUNK), "solutions", transient=True):
            prompts = [(question, image, "") for question, image in questions[first : first + CHUNK]]
            texts = sampler.continue_texts(prompts, n=plan.solutions)
            for number, (question, image, _) in enumerate(prompts):
                name, answer_text = f"{first + number}.png", solve(question).answer
                image.save(folder / "images" / name)
                solutions = without_luck(texts[number], answer_text)
                record = Question(text=question.question, answer=answer_text, images=(name,))
                for pair_up in (correctness_pairs, format_pairs):
                    pairs += map(until_slip, pair_up(record, solutions, rng, limit=plan.pairs_of_question))
        write_records(annotation, map(pair_json, pairs))
        data = DataSet(name="nano", root=folder / "images", annotation=annotation, length=len(pairs))
        write_meta(folder / "meta.json", [data], base=folder)
    return len(annotation.read_text().splitlines())


def without_luck(texts: Sequence[str], known: str) -> list[Solution]:
    """Return a question's wrong solutions, and the right text that was written most often, at least twice.

    A text is right by luck if its slips make up for each other. Pairs are made of distinct texts, so it would
    count as much as the text that the policy usually writes. Without this filter, at temperature 1.3, the
    policy writes a quarter of the chosen responses less than once in seven times.
    """
    solutions = [Solution(text=t, answer=a, right=a == known) for t in texts for a in [final_answer(t)]]
    right = Counter(solution.text for solution in solutions if solution.right).most_common(1)
    kept = {text for text, count in right if count > 1}
    return [solution for solution in solutions if not solution.right or solution.text in kept]


def until_slip(pair: PairRecord) -> PairRecord:
    """Return the pair with its rejected response cut after the first step that the chosen one doesn't have.

    The steps after a slip are right conclusions from it, such as `1+4=5` after a 9 that was read as 1. If
    they were rejected too, the policy would unlearn its arithmetic.
    """
    chosen, rejected = (split_steps(text) for text in (pair.chosen, pair.rejected))
    same = sum(1 for _ in takewhile(lambda steps: steps[0] == steps[1], zip(chosen, rejected, strict=False)))
    return replace(pair, rejected=SEPARATOR.join(rejected[: same + 1]))


def train_variant(plan: MpoPlan, name: str, *, rate: float, seed: int) -> Path:
    """Train a variant on a seed's pairs and return the run's folder, with the trained policy in model/."""
    pairs = seed_folder(plan, seed)
    output = pairs / f"{name.replace(' ', '-')}-{rate:g}"
    if (output / "model").exists():
        return output
    # A model this small needs neither bf16 nor recomputation to fit into memory.
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
    references = pairs / "references"  # they are the same for all variants and learning rates
    if references.exists():
        shutil.copytree(references, output / "references", dirs_exist_ok=True)
    run_job(job, make_accelerator(recipe.precision), resume=True)
    shutil.copytree(output / "references", references, dirs_exist_ok=True)
    return output


def score_rate(plan: MpoPlan, rate: float) -> float:
    """Return pass@1 on training drawings, after MPO with all terms at a learning rate and the first seed."""
    seed = plan.seeds[0]
    output = train_variant(plan, ALL, rate=rate, seed=seed)
    questions = list(problems("train", plan.questions // 2, SEARCH_SEED))
    values_NM = measure(plan, output / "model", output / "search.json", questions, seed=seed)
    return float(values_NM[:, METRICS.index("pass@1")].mean())


def measure(
    plan: MpoPlan, policy: Path, file: Path, questions: Sequence[Problem], *, seed: int
) -> NDArray[np.float64]:
    """Return a policy's figures of each question, (N, M); `file` keeps them for the next run."""
    if not file.exists():
        encoder = NanoEncoder(load_tokenizer(plan.policy))
        temperature = temperature_of(plan.policy)
        candidates = answer(load_checkpoint(policy), encoder, questions, temperature=temperature, seed=seed)
        scores = mean_scores(load_checkpoint(plan.critic), encoder, questions, candidates)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures(questions, candidates, scores).tolist()) + "\n")
    return np.array(json.loads(file.read_text()))
