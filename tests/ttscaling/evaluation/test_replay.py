import pytest

from ttscaling.evaluation.replay import SCORES, choose_rule, replay
from ttscaling.recorded import QuestionCandidates
from ttscaling.selection.stopping import StopRule


def rolled(*candidates: tuple[str, float, int]) -> QuestionCandidates:
    """Candidates of one step: final answer, score, tokens."""
    answers, scores, tokens = zip(*candidates, strict=True)
    return QuestionCandidates(
        texts=tuple(f"candidate {at}. Final answer: {answer}" for at, answer in enumerate(answers)),
        step_scores=tuple((score,) for score in scores),
        tokens=tokens,
        critic="recorded",
        beam_texts={},
        beam_tokens={},
    )


def judge(answer: str | None, known: str) -> bool:
    return answer == known


async def test_without_a_rule_all_is_written_and_the_best_wins() -> None:
    outcome = await replay([rolled(("1", 0.4, 10), ("2", 0.9, 30), ("1", 0.6, 20))], ["2"], judge, StopRule())
    assert (outcome.accuracy, outcome.tokens) == (1, 60)


async def test_a_score_ends_it_and_what_was_begun_counts() -> None:
    """One at a time, the second is good enough; two at a time, the other has written as much by then."""
    question = rolled(("1", 0.4, 10), ("2", 0.9, 30), ("1", 0.99, 40), ("1", 0.99, 40))
    one, two = (StopRule(score=0.8, max_parallel=parallel) for parallel in (1, 2))
    assert (await replay([question], ["2"], judge, one)).tokens == 40
    outcome = await replay([question], ["2"], judge, two)
    assert outcome.accuracy == 1
    assert 55 <= outcome.tokens <= 65, "10 + 30, and the third for about the last 20 of these 30 turns"


async def test_the_rule_of_fewest_tokens_that_costs_no_accuracy_is_chosen() -> None:
    """Half of the questions show their right answer first, the others behind a wrong one of score 0.84."""
    easy = rolled(("2", 0.96, 10), *[("1", 0.2, 10)] * 7)
    hard = rolled(("1", 0.84, 10), ("2", 0.96, 10), *[("1", 0.2, 10)] * 6)
    gathered, known = [easy, hard] * 4, ["2"] * 8
    rule, adaptive, full = await choose_rule(gathered, known, judge, max_parallel=1, allowed_loss=0.0, seed=0)
    assert rule.score is not None and 0.84 < rule.score <= 0.96
    assert (full.accuracy, adaptive.accuracy) == (1, 1)
    assert (full.tokens, adaptive.tokens) == (80, 15)
    bold, cheaper, _ = await choose_rule(gathered, known, judge, max_parallel=1, allowed_loss=0.95, seed=0)
    assert bold.score is not None and bold.score <= 0.84
    assert (cheaper.accuracy, cheaper.tokens) == (0.5, 10)
    wary, same, _ = await choose_rule(gathered, known, judge, max_parallel=1, allowed_loss=0.5, seed=0)
    assert (wary, same.tokens) == (rule, 15), "half is what it loses on average, so it may well be more"


async def test_if_every_rule_loses_the_one_that_loses_least_is_chosen() -> None:
    """A wrong answer of the highest possible score comes first: only never stopping would find the other."""
    question = rolled(("1", 0.9999, 10), ("2", 1.0, 10))
    rule, adaptive, full = await choose_rule(
        [question], ["2"], judge, max_parallel=1, allowed_loss=0.0, seed=0
    )
    assert (full.accuracy, adaptive.accuracy) == (1, 0) and rule.score in SCORES


async def test_an_answer_that_is_not_recorded_has_no_score() -> None:
    from ttscaling.evaluation.replay import NO_QUESTION
    from ttscaling.recorded import RecordedCritic
    from ttscaling.types import CriticError

    with pytest.raises(CriticError, match="not recorded"):
        await RecordedCritic(rolled(("1", 0.5, 3))).score(NO_QUESTION, "another answer")
