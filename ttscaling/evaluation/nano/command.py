"""The command `internvl3 eval nano`, which measures Best-of-8 on nano's held-out questions.

Each question is one chat completion with eight candidates, and all figures come from these candidates:

- greedy: candidate 0 is right.
- pass@1: the share of right ones among the seven sampled candidates.
- majority@8: the most frequent answer is right.
- log_prob_8, orm_8 and best_of_8: the candidate is right that the policy's own mean token log-probability, an
  outcome reward model or the critic ranks highest.
- weighted_vote_8: the answer is right whose candidates' lowest step scores have the highest sum.
- pass@8: any candidate is right.

The 95 % intervals come from a percentile bootstrap over questions, so differences are paired.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ttscaling.answers.final_answer import majority, same_answer
from ttscaling.asking.address import DEFAULT_URL, ApiKey, BaseUrl, Header, address_of
from ttscaling.asking.concurrency import Concurrency
from ttscaling.console import AsJson, CommandError, run_command
from ttscaling.reports.intervals import bootstrap
from ttscaling.reports.markdown import write_block
from ttscaling.selection.ranking import best_candidate

from .candidates import Answers, N, ask_all, scored
from .tables import METRICS, page_lines, print_report

BASELINES = ("pass@1", "majority@8", "log_prob_8", "orm_8", "greedy")  # best_of_8 is compared with these.


@dataclass(frozen=True)
class Outcome:
    """The figures of one question by metric, each in [0, 1], and whether the critic failed (`degraded`)."""

    kind: str
    values: Mapping[str, float]
    degraded: bool


def nano(
    n_questions: Annotated[int, typer.Option(min=1, help="The number of held-out questions.")] = 300,
    base_url: BaseUrl = DEFAULT_URL,
    api_key: ApiKey = None,
    header: Header = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of questions, sampling and bootstrap.")] = 777,
    orm: Annotated[
        Path | None,
        typer.Option(help="An outcome reward model (runs/nano/orm) that ranks the same candidates."),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the table into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Measure greedy, pass@1, majority@8, Best-of-8 by several rankings, and pass@8 of the embedded model.

    Every figure has a 95 % interval. The critic's Best-of-8 is also compared with the other methods on the
    same questions.
    """

    def report() -> dict[str, Any]:
        if orm is not None and not (orm / "config.json").exists():
            raise CommandError(
                f"{orm} is no checkpoint; make runs/nano/orm with: internvl3 train nano --resume"
            )
        answers = asyncio.run(
            ask_all(address_of(base_url, api_key, header), n_questions, seed=seed, concurrency=concurrency)
        )
        orm_scores = [None] * n_questions if orm is None else outcome_scores(orm, answers)
        figures = summary([outcome(*both) for both in zip(answers, orm_scores, strict=True)], seed=seed)
        if page:
            write_block(page, "eval nano", page_lines(figures))
        return figures

    run_command(report, print_report, as_json)


def outcome_scores(checkpoint: Path, answers: Sequence[Answers]) -> list[Sequence[float]]:
    """Return an outcome reward model's score of each candidate of each question, computed in this process."""
    from ttscaling.train.nano.stages.orm import OutcomeRewardModel

    model = OutcomeRewardModel(checkpoint)
    return [model.scores(one.question.text, one.question.images[0], one.texts) for one in answers]


def outcome(answers: Answers, orm: Sequence[float] | None = None) -> Outcome:
    """Return the figures of one question; `orm` holds an outcome reward model's score of each candidate."""
    final_answers = answers.final_answers
    right = [answer is not None and same_answer(answer, answers.question.answer) for answer in final_answers]

    def best_by(scores: Sequence[float]) -> bool:
        return right[best_candidate(scored(answers, scores), by_votes=False).candidate.index]

    values = {
        "greedy": right[0],
        "pass@1": sum(right[1:]) / (N - 1),
        "majority@8": right[majority(final_answers)],
        "log_prob_8": best_by(answers.log_prob),
        "best_of_8": right[answers.selected],
        "pass@8": any(right),
    }
    with_score = scored(answers, answers.lowest_score)
    chosen = best_candidate(with_score, by_votes=True).candidate.index if with_score else answers.selected
    values["weighted_vote_8"] = right[chosen]
    if orm is not None:
        values["orm_8"] = best_by(orm)
    return Outcome(answers.question.kind, {k: float(v) for k, v in values.items()}, answers.degraded)


def summary(outcomes: Sequence[Outcome], *, seed: int) -> dict[str, Any]:
    """Return the report that `--json` prints.

    It holds each metric, the paired differences of best_of_8, and the means for each kind of question.
    `share_of_the_way` is (best_of_8 - pass@1) / (pass@8 - pass@1).
    """
    metrics = [name for name in METRICS if name in outcomes[0].values]
    baselines = [name for name in BASELINES if name in metrics]
    values_NM = np.array([[outcome.values[name] for name in metrics] for outcome in outcomes])
    first, best, last = (metrics.index(name) for name in ("pass@1", "best_of_8", "pass@8"))

    def figures(means_RM: np.ndarray) -> np.ndarray:
        ahead = [means_RM[:, best] - means_RM[:, metrics.index(name)] for name in baselines]
        way = means_RM[:, last] - means_RM[:, first]
        share = np.divide(ahead[0], way, out=np.zeros_like(way), where=way > 0)
        return np.stack([*means_RM.T, *ahead, share], axis=1)

    estimates = iter(bootstrap(values_NM, seed=seed, statistic=figures))

    def entry(name: str) -> dict[str, float]:
        estimate = next(estimates)
        return {name: estimate.mean, "low": estimate.low, "high": estimate.high}

    report: dict[str, Any] = {name: entry("accuracy") for name in metrics}
    report["differences"] = {f"best_of_8 - {name}": entry("difference") for name in baselines}
    report["share_of_the_way"] = entry("share")
    report["kinds"] = {}
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        of_kind_KM = values_NM[[outcome.kind == kind for outcome in outcomes]]
        means = dict(zip(metrics, of_kind_KM.mean(axis=0).tolist(), strict=True))
        report["kinds"][kind] = {"n": len(of_kind_KM), **means}
    report |= {"n": len(outcomes), "seed": seed, "degraded": sum(outcome.degraded for outcome in outcomes)}
    return report
