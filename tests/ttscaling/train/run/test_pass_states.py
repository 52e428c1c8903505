"""The last step of a pass is found among the files of its processes, also those of earlier attempts."""

from pathlib import Path

from ttscaling.train.run.pass_states import PassState, PassStates


def state(step: int, *streams: int) -> PassState:
    return PassState(step, 10 * step, 100 * step, {str(index): {"step": step} for index in streams})


def test_a_new_pass_begins_at_the_start(tmp_path: Path) -> None:
    assert PassStates(tmp_path, 0, 2).latest() == PassState()


def test_the_last_step_of_all_processes_counts(tmp_path: Path) -> None:
    """The second process was killed before it saved its third step."""
    one, two = PassStates(tmp_path, 0, 2), PassStates(tmp_path, 1, 2)
    for step in (1, 2, 3):
        one.save(state(step, 0, 2))
    for step in (1, 2):
        two.save(state(step, 1, 3))
    for num_processes in (1, 2, 4):
        latest = PassStates(tmp_path, 0, num_processes).latest()
        assert (latest.step, latest.samples, latest.tokens) == (2, 20, 200)
        assert latest.streams == {str(index): {"step": 2} for index in range(4)}


def test_an_attempt_that_lacks_a_process_does_not_count(tmp_path: Path) -> None:
    PassStates(tmp_path, 0, 2).save(state(4, 0, 2))
    PassStates(tmp_path, 1, 2).save(state(4, 1, 3))
    PassStates(tmp_path, 0, 4).save(state(5, 0))
    assert PassStates(tmp_path, 0, 4).latest().step == 4
    (tmp_path / "00001-of-00002.state").unlink()
    assert PassStates(tmp_path, 0, 2).latest() == PassState()


def test_files_of_different_steps_are_not_joined(tmp_path: Path) -> None:
    """The second file is that of an older pass, so its two steps aren't those of the first file."""
    one, two = PassStates(tmp_path, 0, 2), PassStates(tmp_path, 1, 2)
    two.save(state(1, 1))
    for step in (3, 4):
        one.save(state(step, 0))
    assert one.latest() == PassState()
