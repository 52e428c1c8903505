"""Search for a pre-training mixture in two stages (InternVL3, arXiv 2504.10479, section 2.2).

Stage 1 finds the proportions of the data sets within each modality. Stage 2 mixes language and multimodal
data, each in the proportions of stage 1, at the same budget; the paper arrived at 1 : 3. The paper doesn't
say how it compares mixtures. Here a lower loss on held-out answers is better, and several losses count by
their geometric mean, so that one per cent of any of them counts the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Modality = Literal["language", "multimodal"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Stage = Literal["language", "multimodal", "both"]
Shares = Mapping[str, float]
"""Data set -> its share of the samples. The shares add up to 1; data sets with a share of 0 are missing."""
Losses = Mapping[str, float]
"""Held-out data set -> mean loss of its answers' tokens, in nats."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A mixture and the held-out losses after training on it; a lower `score` is better within a stage."""

    stage: Stage
    shares: Shares
    losses: Losses
    score: float


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """All trials in their order, and the best one of each stage that had trials."""

    trials: tuple[Trial, ...]
    best: Mapping[Stage, Trial]

    def trials_of(self, stage: Stage) -> tuple[Trial, ...]:
        """Return the trials of a stage, in their order."""
        return tuple(trial for trial in self.trials if trial.stage == stage)


def search(
    data_sets: Mapping[Modality, Sequence[str]],
    heldout: Mapping[Modality, Sequence[str]],
    measure: Callable[[Stage, Shares], Losses],
    *,
    levels: int,
    language_shares: Sequence[float],
) -> SearchResult:
    """Search both stages, and return all trials and the best ones.

    Args:
        data_sets: names of the training sets of each modality, at least one.
        heldout: names of the held-out sets of each modality, at least one.
        measure: trains on a mixture and returns its held-out losses.
        levels: stage 1 tries all mixtures whose shares are multiples of 1 / levels. A modality with a single
            data set needs no trial.
        language_shares: the shares of language that stage 2 tries, each above 0 and below 1.

    Raises:
        ValueError: a modality has no data set, or a number is out of range.
    """
    for modality in MODALITIES:
        if not data_sets.get(modality) or not heldout.get(modality):
            raise ValueError(
                f"the {modality} side has no data set: training and held-out data need at least one each"
            )
    if levels < 1 or not language_shares or not all(0 < share < 1 for share in language_shares):
        raise ValueError(
            "levels must be at least 1, and there must be language shares, each above 0 and below 1"
        )
    trials: list[Trial] = []

    def attempt(stage: Stage, shares: Shares) -> Trial:
        losses = measure(stage, shares)
        sides = MODALITIES if stage == "both" else (stage,)
        score = geometric_mean([geometric_mean([losses[name] for name in heldout[side]]) for side in sides])
        trials.append(Trial(stage=stage, shares=shares, losses=losses, score=score))
        return trials[-1]

    best: dict[Stage, Trial] = {}
    mixes: dict[Modality, Shares] = {}
    for modality in MODALITIES:
        names = data_sets[modality]
        mixes[modality] = {names[0]: 1.0}
        if len(names) > 1:
            stage_trials = [attempt(modality, mix) for mix in mixtures(names, levels)]
            best[modality] = min(stage_trials, key=lambda trial: trial.score)
            mixes[modality] = best[modality].shares
    both = [attempt("both", joined(mixes, share)) for share in sorted(language_shares)]
    best["both"] = min(both, key=lambda trial: trial.score)
    return SearchResult(trials=tuple(trials), best=best)


def mixtures(names: Sequence[str], levels: int) -> list[Shares]:
    """Return all mixtures whose shares are multiples of 1 / levels."""

    def splits(length: int, total: int) -> list[tuple[int, ...]]:
        if length == 1:
            return [(total,)]
        return [(first, *more) for first in range(total + 1) for more in splits(length - 1, total - first)]

    return [
        {name: count / levels for name, count in zip(names, counts, strict=True) if count}
        for counts in splits(len(names), levels)
    ]


def joined(mixes: Mapping[Modality, Shares], language_share: float) -> Shares:
    """Return the mixture of both modalities in which language has this share."""
    weight = {"language": language_share, "multimodal": 1 - language_share}
    return {name: weight[side] * share for side, mix in mixes.items() for name, share in mix.items()}


def language_share(trial: Trial, language: Sequence[str]) -> float:
    """Return the share that language has of a trial's samples."""
    return math.fsum(share for name, share in trial.shares.items() if name in language)


def is_interior(trials: Sequence[Trial], best: Trial) -> bool:
    """Return whether the best trial has worse ones on both sides; `trials` are in order of their shares."""
    return len(trials) > 2 and best not in (trials[0], trials[-1])


def geometric_mean(losses: Sequence[float]) -> float:
    """Return the geometric mean of losses, which aren't negative; it is 0 if one of them is 0."""
    if min(losses) <= 0:
        return 0.0
    return math.exp(math.fsum(math.log(loss) for loss in losses) / len(losses))
