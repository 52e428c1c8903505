"""The trackers of a run, shown with TensorBoard's own reader of its files."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ttscaling.train.run.trackers import PROJECT, Trackers, check_trackers, flat


def test_a_resumed_run_hides_what_was_logged_after_its_state(tmp_path: Path) -> None:
    for begin, losses in ((0, (0.5, 0.25, 8.0)), (2, (0.125, 0.0625))):
        trackers = Trackers(Accelerator(cpu=True), ["tensorboard"], tmp_path, {"recipe": {"batch": 4}})
        trackers.start(begin)
        for step, loss in enumerate(losses, start=begin + 1):
            trackers.log({"loss": loss, "eval/loss": 2 * loss}, step)
        trackers.finish()
    events = EventAccumulator(str(tmp_path / PROJECT)).Reload()
    for name, factor in (("loss", 1), ("eval/loss", 2)):
        values = {event.step: event.value for event in events.Scalars(name)}
        assert values == {1: 0.5 * factor, 2: 0.25 * factor, 3: 0.125 * factor, 4: 0.0625 * factor}


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    trackers = Trackers(Accelerator(cpu=True), [], tmp_path, {})
    trackers.start(0)
    trackers.log({"loss": 1.0}, 1)
    trackers.finish()
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_not_installed_or_unknown_is_named() -> None:
    check_trackers(["tensorboard"])
    assert find_spec("comet_ml") is None, "the test needs a tracker that isn't installed"
    with pytest.raises(ValueError, match="run `pip install comet-ml`"):
        check_trackers(["tensorboard", "comet_ml"])
    with pytest.raises(ValueError, match="there is no tracker tensorbord: use some of aim, "):
        check_trackers(["tensorbord"])


def test_settings_become_flat() -> None:
    nested = {"kind": "sft", "recipe": {"steps": None, "batch": 4, "parts": ["vision"], "recompute": True}}
    assert flat(nested) == {
        "kind": "sft",
        "recipe.steps": "None",
        "recipe.batch": 4,
        "recipe.parts": "['vision']",
        "recipe.recompute": True,
    }
