"""The ledger counts attempts that have no end, keeps replies, and holds after a tear at any byte."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from clients.video_jobs.ledger.ledger import FILE_NAME, Ledger

REPLY = {"choices": [{"message": {"content": "seven"}}]}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


def test_attempts_are_numbered_and_those_without_an_end_are_lost(ledger: Ledger) -> None:
    assert [ledger.start("a", "hash") for _ in range(3)] == [1, 2, 3]
    assert (ledger.state("a").attempts, ledger.state("a").lost) == (3, 3)
    ledger.finish("a", {"custom_id": "a"})
    assert (ledger.state("a").lost, ledger.state("a").outcome) == (2, "done")


def test_an_attempt_that_was_stopped_in_order_does_not_count(ledger: Ledger) -> None:
    ledger.start("a", "hash")
    ledger.stop("a")
    assert ledger.start("a", "hash") == 1


def test_a_reply_is_kept_under_its_key(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        assert ledger.step_of("k") is None
        ledger.step("a", "k", "answer", REPLY, request_id="r1", server="s")
    with Ledger(tmp_path) as again:
        step = again.step_of("k")
    assert step is not None
    assert (step["reply"], step["request_id"], step["purpose"]) == (REPLY, "r1", "answer")


def test_outcomes_are_read_back_and_a_retry_forgets_a_failure(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for item in "ab":
            ledger.start(item, "hash")
        ledger.finish("a", {"custom_id": "a"})
        ledger.fail("b", {"custom_id": "b"})
    with Ledger(tmp_path) as again:
        assert again.items_with("done") == ["a"]
        assert again.items_with("fail") == ["b"]
        assert [again.outcome_line(item) for item in "ab"] == [{"custom_id": "a"}, {"custom_id": "b"}]
        again.retry("b")
        assert again.items_with("fail") == []
        assert again.start("b", "hash") == 1


@given(st.data())
def test_a_ledger_torn_anywhere_is_that_of_its_whole_lines(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        with Ledger(folder) as ledger:
            for item in "abc":
                ledger.start(item, "hash")
                ledger.step(item, f"key {item}", "answer", REPLY)
                ledger.finish(item, {"custom_id": item})
        size = (folder / FILE_NAME).stat().st_size
        os.truncate(folder / FILE_NAME, data.draw(st.integers(0, size)))
        with Ledger(folder) as torn:
            done = torn.items_with("done")
            paid = [item for item in "abc" if torn.step_of(f"key {item}")]
            begun = list(torn.known_items())
    assert done == list("abc")[: len(done)]
    assert len(begun) - 1 <= len(done) <= len(paid) <= len(begun) <= 3


class Reopened(RuleBasedStateMachine):
    """A ledger that is opened again after any line knows what it knew before."""

    ITEMS = st.sampled_from("ab")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self._ledger = Ledger(Path(self._folder.name))

    def teardown(self) -> None:
        self._ledger.__exit__(None, None, None)
        self._folder.cleanup()

    @rule(item=ITEMS)
    def start(self, item: str) -> None:
        if self._ledger.state(item).outcome is None:
            self._ledger.start(item, "hash")

    @rule(item=ITEMS, outcome=st.sampled_from(["stop", "done", "fail"]))
    def end(self, item: str, outcome: str) -> None:
        if self._ledger.state(item).lost and self._ledger.state(item).outcome is None:
            if outcome == "stop":
                self._ledger.stop(item)
            else:
                end = self._ledger.finish if outcome == "done" else self._ledger.fail
                end(item, {"custom_id": item})

    @rule(item=ITEMS)
    def retry(self, item: str) -> None:
        if self._ledger.state(item).outcome == "fail":
            self._ledger.retry(item)

    @rule(item=ITEMS)
    def step(self, item: str) -> None:
        self._ledger.step(item, f"key {item}", "answer", REPLY)

    @invariant()
    def is_the_same_when_opened_again(self) -> None:
        known = dict(self._ledger.known_items())
        steps = [self._ledger.step_of(f"key {item}") for item in "ab"]
        self._ledger.__exit__(None, None, None)
        self._ledger = Ledger(Path(self._folder.name))
        assert dict(self._ledger.known_items()) == known
        assert [self._ledger.step_of(f"key {item}") for item in "ab"] == steps
        assert all(0 <= state.lost <= state.attempts for state in known.values())


TestReopened = Reopened.TestCase
TestReopened.settings = settings(max_examples=25, stateful_step_count=12)
