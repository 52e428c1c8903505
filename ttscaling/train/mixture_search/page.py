"""A ratio search as JSON, as a page and as a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ttscaling.reports.markdown import table
from ttscaling.reports.plots import drawing

from .search import MODALITIES, Found, Modality, Trial, is_interior, language_share


def report(found: Found, data_sets: Mapping[Modality, Sequence[str]], **settings: Any) -> dict[str, Any]:
    """The search as JSON: `best` of each stage, `language_share` and whether it is `interior`, all trials."""
    both, best = found.of("both"), found.best["both"]
    return {
        "language_share": language_share(best, data_sets["language"]),
        "interior": is_interior(both, best),
        "best": {stage: asdict(trial) for stage, trial in found.best.items()},
        "data_sets": {side: list(names) for side, names in data_sets.items()},
        "trials": [asdict(trial) for trial in found.trials],
        **settings,
    }


def page_of(
    found: Found, data_sets: Mapping[Modality, Sequence[str]], *, plot: str, command: str, about: str
) -> str:
    """The search in Markdown; `plot` is the image's address from there, `about` says what was trained."""
    both, best = found.of("both"), found.best["both"]
    share = language_share(best, data_sets["language"])
    lines = [
        "# Which mixture to pre-train on",
        "",
        "The two-stage search of InternVL3 (arXiv 2504.10479, section 2.2): first the proportions within",
        "each modality, then language : multimodal, every trial a pre-training of the same budget. By",
        "",
        f"    {command}",
        "",
        about,
        "",
        "Losses are nats per token of held-out answers; a stage's score is their geometric mean (stage 2: of",
        "the two modalities'), lower is better. Shares are of samples.",
        "",
    ]
    for side in MODALITIES:
        trials = found.of(side)
        if trials:
            lines += [f"## Stage 1: {side}", "", *_table(trials, found.best[side]), ""]
    ratio = f"{1 / share - 1:.2g}"
    where = "between worse ones on both sides" if is_interior(both, best) else "at the end of those tried"
    lines += [
        "## Stage 2: language and multimodal",
        "",
        *_table(both, best),
        "",
        f"![losses over the share of language]({plot})",
        "",
        f"The best has {share:.0%} language, 1 : {ratio}, {where} (published for InternVL3: 1 : 3).",
        "",
    ]
    return "\n".join(lines)


def _table(trials: Sequence[Trial], best: Trial) -> list[str]:
    heldout = list(trials[0].losses)
    rows = [
        [
            " + ".join(f"{share:.1%} {name}" for name, share in trial.shares.items()),
            *(f"{trial.losses[name]:.3f}" for name in heldout),
            f"**{trial.score:.3f}**" if trial == best else f"{trial.score:.3f}",
        ]
        for trial in trials
    ]
    return table(["mixture", *heldout, "score"], rows)


def draw(found: Found, data_sets: Mapping[Modality, Sequence[str]], path: Path) -> None:
    """Stage 2: every held-out loss and the score over the share of language."""
    trials, best = found.of("both"), found.best["both"]
    shares = [language_share(trial, data_sets["language"]) for trial in trials]
    with drawing(path, 7, 4) as axes:
        for name in trials[0].losses:
            axes.plot(shares, [trial.losses[name] for trial in trials], "o--", lw=1, ms=4, label=name)
        axes.plot(shares, [trial.score for trial in trials], "ko-", label="score")
        axes.axvline(language_share(best, data_sets["language"]), color="grey", lw=0.8)
        axes.set_yscale("log")
        axes.set_xlabel("share of language in the samples")
        axes.set_ylabel("held-out loss, nats per token")
        axes.legend(frameon=False)
