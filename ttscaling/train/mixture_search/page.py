"""Write a search of mixtures as JSON, as a page and as a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ttscaling.reports.markdown import table
from ttscaling.reports.plots import drawing

from .search import MODALITIES, Modality, SearchResult, Trial, is_interior, language_share


def report(
    result: SearchResult, data_sets: Mapping[Modality, Sequence[str]], **settings: Any
) -> dict[str, Any]:
    """Return the search as JSON: the best trial of each stage, all trials, and the `settings`.

    `language_share` is that of stage 2's best trial; `interior` says whether it lies between worse trials.
    """
    both, best = result.trials_of("both"), result.best["both"]
    return {
        "language_share": language_share(best, data_sets["language"]),
        "interior": is_interior(both, best),
        "best": {stage: asdict(trial) for stage, trial in result.best.items()},
        "data_sets": {side: list(names) for side, names in data_sets.items()},
        "trials": [asdict(trial) for trial in result.trials],
        **settings,
    }


def page_of(
    result: SearchResult, data_sets: Mapping[Modality, Sequence[str]], *, plot: str, command: str, about: str
) -> str:
    """Return the search as a page in Markdown.

    `plot` is the image's address from the page, `command` the command line that made the page, and `about`
    says what was trained.
    """
    both, best = result.trials_of("both"), result.best["both"]
    share = language_share(best, data_sets["language"])
    lines = [
        "# Which mixture to pre-train on",
        "",
        "This search has two stages, as in InternVL3 (arXiv 2504.10479, section 2.2). Stage 1 finds the",
        "proportions of the data sets within each modality. Stage 2 finds the proportion of language to",
        "multimodal data. Every trial is a pre-training run of the same budget. This command made the page:",
        "",
        f"    {command}",
        "",
        about,
        "",
        "Losses are in nats per token of held-out answers. A trial's score is the geometric mean of its",
        "modality's losses, and in stage 2 the geometric mean of both modalities' scores. A lower score is",
        "better. Shares are shares of the samples.",
        "",
    ]
    for side in MODALITIES:
        trials = result.trials_of(side)
        if trials:
            lines += [f"## Stage 1: {side}", "", *_table(trials, result.best[side]), ""]
    ratio = f"{1 / share - 1:.2g}"
    neighbours = "Mixtures with less and with more language are worse."
    if not is_interior(both, best):
        neighbours = "It lies at the end of the shares that were tried."
    lines += [
        "## Stage 2: language and multimodal",
        "",
        *_table(both, best),
        "",
        f"![losses over the share of language]({plot})",
        "",
        f"The best mixture has {share:.0%} language, so language and multimodal data are mixed 1 : {ratio}.",
        f"{neighbours} The proportion published for InternVL3 is 1 : 3.",
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


def draw(result: SearchResult, data_sets: Mapping[Modality, Sequence[str]], path: Path) -> None:
    """Draw stage 2's held-out losses and scores over the share of language into the file `path`."""
    trials, best = result.trials_of("both"), result.best["both"]
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
