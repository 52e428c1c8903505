"""The two-stage search of a mixture, on losses that are known and with the real trainer."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.ttscaling.train.jobs import job
from ttscaling.records.bad_records import BadRecords
from ttscaling.records.chats import parse_chat
from ttscaling.records.jsonl import read_records
from ttscaling.records.meta import read_meta
from ttscaling.train.cli import app
from ttscaling.train.mixture_search.search import (
    Losses,
    Modality,
    Shares,
    Stage,
    geometric_mean,
    is_interior,
    mixtures,
    search,
)
from ttscaling.train.mixture_search.trials import mixed, read_modalities
from ttscaling.train.nano.experiments.mixture_data import MINIATURE, write_material

DATA_SETS: dict[Modality, list[str]] = {"language": ["web", "code"], "multimodal": ["ocr", "charts"]}
HELDOUT: dict[Modality, list[str]] = {"language": ["text"], "multimodal": ["image"]}


def test_mixtures_are_all_multiples() -> None:
    assert mixtures(["a", "b"], 2) == [{"b": 1.0}, {"a": 0.5, "b": 0.5}, {"a": 1.0}]
    three = mixtures(["a", "b", "c"], 4)
    assert len(three) == 15
    assert all(sum(mix.values()) == 1 for mix in three)


def test_both_stages_find_the_best() -> None:
    """Each loss has one minimum: a quarter of code, three quarters of charts, a quarter of language."""
    calls: list[tuple[Stage, Shares]] = []

    def measure(stage: Stage, shares: Shares) -> Losses:
        calls.append((stage, shares))

        def share(name: str) -> float:
            return shares.get(name, 0)

        if stage == "language":
            return {"text": 1 + abs(share("code") - 0.25), "image": 9}
        if stage == "multimodal":
            return {"text": 9, "image": 1 + abs(share("charts") - 0.75)}
        language = share("web") + share("code")
        return {"text": math.exp(3 * (1 - language) ** 2), "image": math.exp(language**2)}

    result = search(DATA_SETS, HELDOUT, measure, levels=4, language_shares=[0.5, 0.75, 0.9, 0.25])
    assert result.best["language"].shares == {"web": 0.75, "code": 0.25}
    assert result.best["multimodal"].shares == {"ocr": 0.25, "charts": 0.75}
    best = result.best["both"]
    assert best.shares == pytest.approx({"web": 0.5625, "code": 0.1875, "ocr": 0.0625, "charts": 0.1875})
    assert best.score == pytest.approx(math.exp((3 * 0.25**2 + 0.75**2) / 2))
    assert [stage for stage, _ in calls] == ["language"] * 5 + ["multimodal"] * 5 + ["both"] * 4
    assert is_interior(result.trials_of("both"), best)
    assert not is_interior(result.trials_of("both"), result.trials_of("both")[0])


def test_a_single_data_set_of_a_side_needs_no_trial() -> None:
    result = search(
        {"language": ["web"], "multimodal": ["ocr"]},
        {"language": ["text"], "multimodal": ["image"]},
        lambda stage, shares: {"text": 1.0, "image": shares["web"]},
        levels=4,
        language_shares=[0.5, 0.25],
    )
    assert [(trial.stage, trial.shares) for trial in result.trials] == [
        ("both", {"web": 0.25, "ocr": 0.75}),
        ("both", {"web": 0.5, "ocr": 0.5}),
    ]
    assert result.best["both"].shares["web"] == 0.25


@pytest.mark.parametrize(
    ("sides", "shares", "problem"),
    [
        ({"language": ["web"], "multimodal": []}, [0.5], "multimodal side has no data set"),
        ({"language": ["web"], "multimodal": ["ocr"]}, [0.5, 1.0], "there must be language shares"),
        ({"language": ["web"], "multimodal": ["ocr"]}, [], "there must be language shares"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    sides: dict[Modality, list[str]], shares: list[float], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        search(sides, HELDOUT, lambda stage, shares: {}, levels=2, language_shares=shares)


def test_the_geometric_mean_weighs_per_cents_alike() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4)
    assert geometric_mean([1.01, 100.0]) == pytest.approx(geometric_mean([1.0, 101.0]))
    assert geometric_mean([0.0, 5.0]) == 0


@pytest.fixture
def metas(tmp_path: Path) -> tuple[Path, Path]:
    """Ten records as the language and as the multimodal side, for training and held out."""
    entry = json.loads(job(tmp_path, "pretrain").data.read_text())["pretrain"]
    paths = tmp_path / "train.json", tmp_path / "heldout.json"
    for path in paths:
        sides = {f"{side}-{path.stem}": {**entry, "modality": side} for side in ("language", "multimodal")}
        path.write_text(json.dumps(sides))
    return paths


def test_shares_become_repeats_that_leave_no_record_out(metas: tuple[Path, Path], tmp_path: Path) -> None:
    data_sets, sides = read_modalities(metas[0], base=Path())
    assert sides == {"language": ["language-train"], "multimodal": ["multimodal-train"]}
    small = tmp_path / "small.jsonl"
    small.write_text(data_sets[0].annotation.read_text().split("\n")[0] + "\n")
    unequal = [
        replace(data_sets[0], annotation=small),
        data_sets[1],
    ]  # The first set has 1 record, the second 10.
    weights = [one.repeat_time for one in mixed(unequal, {"language-train": 0.25, "multimodal-train": 0.75})]
    assert weights == pytest.approx([10 / 3, 1])
    assert [one.name for one in mixed(data_sets, {"multimodal-train": 1.0})] == ["multimodal-train"]


def test_a_data_set_without_a_modality_is_named(tmp_path: Path) -> None:
    data = job(tmp_path, "pretrain").data
    assert read_meta(data, base=Path())
    with pytest.raises(ValueError, match='pretrain: add "modality"'):
        read_modalities(data, base=Path())


def test_the_command_searches_with_the_real_trainer_and_goes_on(
    metas: tuple[Path, Path], tmp_path: Path
) -> None:
    command = ["ratio", "--model", str(tmp_path / "start"), "--data", str(metas[0])]
    command += [
        "--heldout",
        str(metas[1]),
        "--output",
        str(tmp_path / "out"),
        "--page",
        str(tmp_path / "r.md"),
    ]
    command += ["--steps", "2", "--batch", "2", "--learning-rate", "0.01", "--max-tokens", "1000"]
    command += ["--max-tiles", "16", "--precision", "fp32", "--language-shares", "1/4,1/2,3/4", "--json"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    report = json.loads(first.output.splitlines()[-1])
    losses = [trial["losses"]["language-heldout"] for trial in report["trials"]]
    assert len(set(losses)) == 3 and all(loss > 0 for loss in losses)
    page = (tmp_path / "r.md").read_text()
    assert f"{report['language_share']:.0%} language" in page
    assert (tmp_path / "r.png").stat().st_size > 1000
    (
        tmp_path / "out" / "both" / "0.25-0.75" / "heldout.json"
    ).unlink()  # The search was cut off before this trial ended.
    again = CliRunner().invoke(app, command)
    assert json.loads(again.output.splitlines()[-1])["trials"] == report["trials"]
    other = CliRunner().invoke(app, [*command, "--seed", "2"])
    assert other.exit_code == 1
    assert "holds a trial with other settings" in other.output


def test_nanos_own_data_is_of_both_modalities_and_split(tmp_path: Path) -> None:
    material = write_material(tmp_path, MINIATURE, seed=1)
    for meta, number in ((material.data, MINIATURE.records), (material.heldout, MINIATURE.heldout)):
        data_sets, sides = read_modalities(meta, base=Path())
        assert {side: len(names) for side, names in sides.items()} == {"language": 2, "multimodal": 2}
        for data_set in data_sets:
            records = list(read_records(data_set.annotation, parse_chat, BadRecords(allowed=0)))
            assert len(records) == number
            for record in records:
                assert bool(record.images) == (data_set.name in sides["multimodal"])
                assert all((data_set.root / image).exists() for image in record.images)
