"""No rule changes what a method chooses, unless the selection says that it ended early.

Policies and critics are drawn: their answers, their scores, their speed, and which of their calls fail. Rules
are drawn in all combinations. `pytest -s` prints how many there were, and what the rules saved.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ttscaling.scripted import QUESTION
from tests.ttscaling.selection.drawn_scripts import RULES, SCRIPTS, Script, ScriptedPolicy, TableCritic
from ttscaling.answers.final_answer import final_answer
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.methods.weighted_vote import weighted_vote
from ttscaling.selection.stopping import StopRule
from ttscaling.types import ABANDONED, CriticError, PolicyError, Selection


class TurnClock(asyncio.SelectorEventLoop):
    """An event loop whose clock is a second further after each turn, so that time caps are repeatable."""

    turns = 0

    def time(self) -> float:
        return float(self.turns)

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]


def run(method: str, scripts: list[Script], stop: StopRule, **options: Any) -> tuple[Selection, int]:
    """Return the selection and the tokens that the policy wrote for it, which its usage must equal."""
    policy, critic, n = ScriptedPolicy(scripts), TableCritic(scripts), len(scripts)
    with asyncio.Runner(loop_factory=TurnClock) as runner:
        if method == "self_consistency":
            selection = runner.run(self_consistency(policy, QUESTION, n=n, stop=stop))
        else:
            choose = {"best_of_n": best_of_n, "weighted_vote": weighted_vote}[method]
            selection = runner.run(choose(policy, critic, QUESTION, n=n, stop=stop, **options))
    assert (selection.usage.completion, selection.usage.critic_prompt) == (policy.tokens, critic.tokens)
    return selection, policy.tokens


def usable(method: str, stop: StopRule) -> StopRule:
    """Return the rule without what the method refuses."""
    if method != "best_of_n":
        stop = replace(stop, abandon_losers=False)
    return replace(stop, score=None) if method == "self_consistency" else stop


def ranking(selection: Selection) -> list[int]:
    """Return the candidates that may be chosen, as a server returns the best n of them: by falling score."""
    finished = [entry for entry in selection.candidates if entry.candidate.finish_reason != ABANDONED]
    chosen = [selection.selected]
    others = sorted(finished, key=lambda entry: -1.0 if entry.score is None else -entry.score)
    return chosen + [entry.candidate.index for entry in others if entry.candidate.index not in chosen]


@dataclass
class Figures:
    """What the runs of the property test add up to."""

    combinations: set[tuple[Any, ...]] = field(default_factory=set)
    stopped: Counter[str] = field(default_factory=Counter)
    differing: int = 0
    tokens: int = 0
    all_tokens: int = 0

    def add(self, combination: tuple[Any, ...], whole: Selection, ended: Selection) -> None:
        self.combinations.add(combination)
        self.stopped[str(ended.stopped)] += 1
        self.differing += ended.stopped is None and ended.selected != whole.selected
        self.tokens += ended.usage.completion
        self.all_tokens += whole.usage.completion


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    """Collect the figures of all runs, and print them at the end."""
    collected = Figures()
    yield collected
    runs = sum(collected.stopped.values())
    saved = 1 - collected.tokens / max(1, collected.all_tokens)
    print(
        f"\n{len(collected.combinations)} combinations of method, aggregation and rules in {runs} runs: ",
        end="",
    )
    print(f"choices that differ {collected.differing}, tokens saved {saved:.0%}; ended by ", end="")
    print(", ".join(f"{rule} {count}" for rule, count in sorted(collected.stopped.items())))


@settings(max_examples=1000, deadline=None)
@given(
    scripts=SCRIPTS,
    method=st.sampled_from(["best_of_n", "weighted_vote", "self_consistency"]),
    aggregation=st.sampled_from(["mean", "min", "last", "product", "max"]),
    on_critic_error=st.sampled_from(["self_consistency", "first", "fail"]),
    stop=RULES,
)
def test_the_choice_is_the_one_among_all_candidates(
    figures: Figures,
    scripts: list[Script],
    method: str,
    aggregation: str,
    on_critic_error: str,
    stop: StopRule,
) -> None:
    # Equal answers of different candidates would share one score, so a script's answer is its own.
    scripts = [replace(s, answer=f"step {s.index}.\n{s.answer}") for s in scripts]
    stop = usable(method, stop)
    options: dict[str, Any] = {"aggregation": aggregation, "on_critic_error": on_critic_error}
    options = {} if method == "self_consistency" else options
    has_cap = stop.max_tokens is not None or stop.max_seconds is not None
    try:
        whole, all_tokens = run(method, scripts, StopRule(), **options)
    except CriticError:
        assert on_critic_error == "fail"  # a rule may end the selection before the critic fails
        return
    except PolicyError:
        with pytest.raises(PolicyError):
            run(method, scripts, replace(stop, max_tokens=None, max_seconds=None), **options)
        return
    try:
        ended, tokens = run(method, scripts, stop, **options)
    except PolicyError:  # the cap was met before any candidate that may be chosen wrote a word
        assert has_cap
        return
    except CriticError:  # the time was over before there was a score
        assert stop.max_seconds is not None and on_critic_error == "fail"
        return
    rules = tuple(name for name, value in vars(stop).items() if value)
    figures.add((method, aggregation, rules), whole, ended)
    assert tokens <= all_tokens
    if ended.stopped is None:
        assert ended.selected == whole.selected
        if not stop.abandon_losers:  # this rule is refused where several answers are returned
            assert ranking(ended) == ranking(whole)
        return
    winner = ended.winner
    if ended.stopped == "score":
        assert stop.score is not None and winner.score is not None and winner.score >= stop.score
    elif ended.stopped == "agreement":
        votes: dict[str | None, float] = defaultdict(float)
        for entry in ended.candidates:
            counts = method == "self_consistency" or entry.score is not None
            if counts and (answer := final_answer(entry.candidate.text)) is not None:
                votes[answer] += 1 if method == "self_consistency" else entry.score or 0
        assert votes[final_answer(winner.candidate.text)] == max(votes.values())
    elif ended.stopped == "tokens":
        assert stop.max_tokens is not None and tokens >= stop.max_tokens
    else:
        assert ended.stopped == "seconds" and stop.max_seconds is not None
