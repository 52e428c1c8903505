"""Test that the model card has the figures of the run's files."""

import json
from pathlib import Path

import pytest

from ttscaling.evaluation.nano.tables import METRICS
from ttscaling.nano_tasks.problems import SheetQuestion
from ttscaling.nano_tasks.sheets import Sheet
from ttscaling.train.nano.card import MINUTES, model_card
from ttscaling.train.nano.stages.monte_carlo import LabelledRollout, load_rollouts, save_rollouts

SHEET = Sheet(((3, 7, 4), (9, 8, 2), (0, 5, 6)))
ROLLOUTS = [
    LabelledRollout(
        task=SheetQuestion(SHEET, "row sum", (1,)),
        steps=("Row 1: 3 7 4", "3+7=10", "10+4=14", "Final answer: 14"),
        mc=(0.5, 0.75, 1.0, 1.0),
    ),
    LabelledRollout(
        task=SheetQuestion(SHEET, "extreme", (2,), smallest=True), steps=("Row 2: 9 8 1",), mc=(0.0,)
    ),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("policy", "critic"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(bytes(1_200_000))
    (tmp_path / "policy" / "generation_config.json").write_text(json.dumps({"temperature": 0.9}))
    (tmp_path / MINUTES).write_text(json.dumps({"pretrain": 11.3, "critic": 30.3}))
    save_rollouts(ROLLOUTS, tmp_path / "rollouts.jsonl")
    return tmp_path


def test_rollouts_survive_their_file(directory: Path) -> None:
    assert load_rollouts(directory / "rollouts.jsonl") == ROLLOUTS


def test_the_card_holds_sizes_labels_and_figures(directory: Path) -> None:
    entry = {"accuracy": 0.5, "low": 0.4, "high": 0.625}
    figures = {
        **dict.fromkeys(METRICS, entry),
        "differences": {"best_of_8 - pass@1": {"difference": 0.123, "low": 0.1, "high": 0.2}},
        "share_of_the_way": {"share": 0.744, "low": 0.7, "high": 0.8},
        "kinds": {"row sum": {"n": 5, **dict.fromkeys(METRICS, 0.8)}},
        "n": 30,
        "seed": 777,
    }
    card = model_card(figures, directory, seed=3)
    assert "1.2 and 1.2 MB" in card
    assert "42 minutes" in card and "seed 3." in card and "pretrain 11, critic 30." in card
    text = " ".join(card.split())
    assert "from 2 of the policy's own solutions." in text and "Their 5 steps" in text and "80%" in text
    assert "temperature is 0.9" in card
    assert "| greedy | 50.0% | 40.0% to 62.5% |" in card
    assert "| best_of_8 - pass@1 | +12.3 | +10.0 to +20.0 |" in card
    assert "| row sum | 80.0% |" in card
    assert "best_of_8 closes 74% (70% to 80%) of the gap" in card
