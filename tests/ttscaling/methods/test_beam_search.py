import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ttscaling.scripted import QUESTION, candidate
from ttscaling.methods.beam_search import beam_search
from ttscaling.methods.beams import Beam
from ttscaling.selection.stopping import StopRule
from ttscaling.steps import split_steps
from ttscaling.types import (
    Candidate,
    Conversation,
    CriticError,
    OutOfTime,
    PolicyError,
    Progress,
    Selection,
    StepScores,
)

# The step that follows a beginning, for each index of a continuation; a step that ends in "." ends the
# answer.
Tree = Callable[[str, int], str | None]


class TreePolicy:
    """Continues a beginning as a tree says; None is a failure.

    `extended` lists each beginning with the index of its continuation and whether that is greedy.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.extended: list[tuple[str, int, bool]] = []
        self.running = 0

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        written = f"{parent.text}\n\n" if parent.text else ""
        self.extended.append((written, index, greedy))
        self.running += 1
        try:
            await asyncio.sleep(0)
            step = self._tree(written, index)
            if step == "hang":
                await asyncio.Event().wait()
        finally:
            self.running -= 1
        if step is None:
            raise PolicyError("HTTP 500")
        return candidate(
            index, step.removesuffix("."), tokens=1, reason="stop" if step.endswith(".") else None
        )


class LetterCritic:
    """Gives each step its score from a table, or .5 if the step isn't there; None is a failure."""

    name = "letters"

    def __init__(self, table: Mapping[str, float | None]) -> None:
        self._table = table
        self.answers: list[str] = []

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        self.answers.append(answer)
        await asyncio.sleep(0)
        steps = split_steps(answer)
        scores = [self._table.get(step, 0.5) for step in steps]
        if None in scores:
            raise CriticError(f"cannot read {answer!r}")
        known = tuple(score for score in scores if score is not None)
        return StepScores(steps=steps, scores=known, prompt_tokens=10, cached_tokens=4)


def by_depth(*steps: Sequence[str | None]) -> Tree:
    """Return a tree in which the beginnings with i steps are continued by steps[i] in turn."""
    return lambda written, index: steps[written.count("\n\n")][index % len(steps[written.count("\n\n")])]


async def search(
    tree: Tree, table: Mapping[str, float | None], **options: Any
) -> tuple[Selection, TreePolicy, LetterCritic]:
    policy, critic = TreePolicy(tree), LetterCritic(table)
    beam = Beam(n=options.pop("n", 4), width=options.pop("width", 2), max_steps=options.pop("max_steps", 9))
    selection = await beam_search(policy, critic, QUESTION, beam=beam, **options)
    return selection, policy, critic


async def test_the_best_beginnings_are_continued_and_the_best_answer_wins() -> None:
    reports: list[Progress] = []
    table = {"a": 0.2, "b": 0.9, "good": 0.9, "bad": 0.1, "end": 0.6}
    tree = by_depth(["a", "b"], ["bad", "good"], ["end."])
    selection, policy, _ = await search(tree, table, n=2, width=1, on_progress=reports.append)
    assert selection.winner.candidate.text == "b\n\ngood\n\nend"
    assert selection.winner.score == pytest.approx((0.9 + 0.9 + 0.6) / 3)
    assert [written for written, _, _ in policy.extended] == [
        "",
        "",
        "b\n\n",
        "b\n\n",
        "b\n\ngood\n\n",
        "b\n\ngood\n\n",
    ]
    assert [index for _, index, _ in policy.extended] == list(range(6))
    assert [greedy for _, _, greedy in policy.extended] == [True, False, False, False, False, False]
    assert (selection.stopped, selection.degraded, len(reports)) == (None, None, 1)
    assert selection.winner.candidate.completion_tokens == 3
    assert selection.usage is not None
    assert (selection.usage.completion, selection.usage.prompt) == (6, 60)
    assert (selection.usage.critic_prompt, selection.usage.critic_cached) == (50, 20)


async def test_same_steps_are_one_beam_scored_once() -> None:
    selection, policy, critic = await search(by_depth(["a"], ["end."]), {}, width=2)
    assert critic.answers == ["a", "a\n\nend"]
    assert len(policy.extended) == 8
    assert len(selection.candidates) == 1


async def test_finished_answers_wait_for_the_others() -> None:
    """An answer that is finished early doesn't win against a better one that takes longer."""
    selection, _, _ = await search(by_depth(["a", "short."], ["end."]), {"a": 0.9, "end": 0.9})
    assert [entry.candidate.text for entry in selection.candidates] == ["short", "a\n\nend"]
    assert [entry.candidate.index for entry in selection.candidates] == [1, 4]
    assert selection.selected == 4


@pytest.mark.parametrize(("n", "width"), [(4, 1), (8, 2)])
async def test_an_early_end_with_a_low_score_does_not_end_the_search(n: int, width: int) -> None:
    table = {"good": 0.9, "quit": 0.05, "end": 0.9}
    tree = by_depth(["good", "good b", "good c", "quit."], ["end."])
    selection, _, _ = await search(tree, table, n=n, width=width)
    assert selection.winner.candidate.text == "good\n\nend"
    assert "quit" in [entry.candidate.text for entry in selection.candidates]


async def test_a_finished_answer_keeps_its_beam_while_it_is_among_the_best() -> None:
    """With width 2, the short answer holds one beam, and the other one gets all continuations."""
    tree = by_depth(["a", "short."], ["b", "c"], ["end."])
    selection, policy, _ = await search(tree, {"short": 0.9, "a": 0.8, "b": 0.8, "end": 0.1}, n=4)
    assert [written for written, _, _ in policy.extended[4:]] == ["a\n\n"] * 4 + ["a\n\nb\n\n"] * 4
    assert selection.winner.candidate.text == "short"


async def test_a_greedy_beam_is_greedy_to_its_end() -> None:
    """Continuation 0 of each step is the greedy one as long as the greedy beam is kept."""
    table = {"a": 0.9, "b": 0.5}
    _, policy, _ = await search(by_depth(["a", "b"], ["a", "b"], ["a."]), table, n=2, width=1)
    assert [index for _, index, greedy in policy.extended if greedy] == [0, 2, 4]
    _, policy, _ = await search(
        by_depth(["a", "b"], ["a", "b"], ["a."]), table, n=2, width=1, include_greedy=False
    )
    assert not any(greedy for _, _, greedy in policy.extended)


async def test_at_max_steps_a_beginning_may_win_against_a_finished_answer() -> None:
    selection, _, _ = await search(by_depth(["a", "quit."], ["b"]), {"a": 0.9, "quit": 0.05}, max_steps=2)
    assert selection.winner.candidate.text == "a\n\nb"
    assert selection.winner.candidate.finish_reason == "length"


async def test_a_timeout_of_the_policy_is_no_time_cap() -> None:
    def late(written: str, index: int) -> str:
        raise TimeoutError("the socket")

    with pytest.raises(TimeoutError, match="the socket"):
        await search(late, {}, stop=StopRule(max_seconds=60))


async def test_rules_that_a_search_cannot_follow_are_refused() -> None:
    for stop in (StopRule(agreement=0.9), StopRule(max_parallel=2), StopRule(abandon_losers=True)):
        with pytest.raises(ValueError, match="follows only"):
            await search(by_depth(["a."]), {}, stop=stop)


async def test_an_answer_may_end_behind_its_last_step() -> None:
    selection, _, _ = await search(by_depth(["a"], ["."]), {})
    assert selection.winner.candidate.text == "a"
    assert selection.winner.candidate.finish_reason == "stop"


async def test_at_max_steps_the_best_beginning_is_cut_off() -> None:
    selection, _, _ = await search(by_depth(["a", "b"], ["c"]), {"b": 0.9}, max_steps=2)
    assert selection.winner.candidate.text == "b\n\nc"
    assert [entry.candidate.finish_reason for entry in selection.candidates] == ["length", "length"]


async def test_failed_and_empty_continuations_are_left_out() -> None:
    selection, _, _ = await search(by_depth([None, "a", None, " "], ["end."]), {}, width=2)
    assert selection.winner.candidate.text == "a\n\nend"
    assert selection.degraded == "continuation 0 failed: HTTP 500; continuation 2 failed: HTTP 500"
    with pytest.raises(
        PolicyError, match="no continuation could be written: continuation 3 failed: HTTP 500"
    ):
        await search(by_depth([None]), {})
    with pytest.raises(PolicyError, match="all steps were empty"):
        await search(by_depth([" "]), {})


async def test_a_failure_at_the_end_keeps_the_finished_answers() -> None:
    selection, _, _ = await search(by_depth(["a", "b."], [None]), {})
    assert selection.winner.candidate.text == "b"
    assert selection.degraded is not None


async def test_a_failure_on_the_way_keeps_the_beginnings() -> None:
    selection, _, _ = await search(by_depth(["a", "b"], [None, " "]), {"b": 0.9})
    assert selection.winner.candidate.text == "b"
    assert selection.winner.candidate.finish_reason == "length"
    assert selection.degraded is not None


async def test_an_unscored_beginning_is_not_continued() -> None:
    table = {"a": None, "b": 0.1}
    selection, policy, _ = await search(by_depth(["a", "b"], ["end."]), table, on_critic_error="first")
    assert {written for written, _, _ in policy.extended} == {"", "b\n\n"}
    assert "a beginning has no score: cannot read 'a'" in str(selection.degraded)
    with pytest.raises(CriticError, match="cannot read 'a'"):
        await search(by_depth(["a", "b"], ["end."]), table, on_critic_error="fail")


async def test_without_any_score_the_first_beams_go_on() -> None:
    table = {"a": None, "b": None}
    selection, _, _ = await search(by_depth(["a", "b"], ["end."]), table, width=1, on_critic_error="first")
    assert selection.winner.candidate.text == "a\n\nend"
    assert "on_critic_error=first" in str(selection.degraded)


async def test_rules_end_the_search() -> None:
    tree = by_depth(["a", "b."], ["c", "d"], ["e"])
    selection, _, _ = await search(tree, {"b": 0.95}, stop=StopRule(score=0.9))
    assert (selection.winner.candidate.text, selection.stopped) == ("b", "score")
    selection, policy, _ = await search(tree, {}, stop=StopRule(max_tokens=4), n=18)
    assert (selection.stopped, len(policy.extended)) == ("tokens", 18)


async def test_at_the_time_cap_the_beginnings_so_far_are_returned() -> None:
    selection, policy, _ = await search(
        by_depth(["a", "b"], ["hang"]), {"b": 0.9}, stop=StopRule(max_seconds=0.5)
    )
    assert (selection.winner.candidate.text, selection.stopped) == ("b", "seconds")
    assert policy.running == 0
    with pytest.raises(OutOfTime, match="no step was finished"):
        await search(by_depth(["hang"]), {}, stop=StopRule(max_seconds=0.01))


async def test_cancelling_leaves_nothing_running() -> None:
    policy = TreePolicy(by_depth(["hang"]))
    running = asyncio.create_task(beam_search(policy, LetterCritic({}), QUESTION, beam=Beam()))
    for _ in range(5):
        await asyncio.sleep(0)
    assert policy.running == 8
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert policy.running == 0


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.integers(0, 2**20))
def test_a_wide_enough_beam_finds_the_best_answer(steps: int, expansions: int, more: int, salt: int) -> None:
    """If the beam is so wide that nothing is dropped, the search tries every answer."""

    def tree(written: str, index: int) -> str:
        end = "." if written.count("\n\n") == steps - 1 else ""
        return f"{index % expansions}{end}"

    class Hashed(LetterCritic):
        async def score(self, conversation: Conversation, answer: str) -> StepScores:
            parts = split_steps(answer)
            values = tuple(hash((salt, int(part), index)) % 1000 / 1000 for index, part in enumerate(parts))
            return StepScores(steps=parts, scores=values, prompt_tokens=1, cached_tokens=0)

    width = expansions**steps + more
    beam = Beam(n=width * expansions, width=width, max_steps=steps)
    selection = asyncio.run(beam_search(TreePolicy(tree), Hashed({}), QUESTION, beam=beam, aggregation="min"))
    assert len(selection.candidates) == expansions**steps
    best = max(entry.score for entry in selection.candidates if entry.score is not None)
    assert selection.winner.score == best


async def test_beams_share_the_continuations_evenly() -> None:
    _, policy, _ = await search(by_depth(["a", "b"], ["end."]), {"a": 0.9}, n=5)
    second = [written for written, _, _ in policy.extended[5:]]
    assert second == ["a\n\n"] * 3 + ["b\n\n"] * 2


def test_a_beam_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"width": 0}, {"n": 0}, {"max_steps": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least 1"):
            Beam(**wrong)
    with pytest.raises(ValueError, match="width must not be above n"):
        Beam(n=2, width=3)
