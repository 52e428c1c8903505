from dataclasses import replace

import pytest

from ttscaling.evaluation.replay import SCORES, choose_rule, replay
from ttscaling.recorded import QuestionCandidates
from ttscaling.selection.stopping import StopRule


def recorded(*candidates: tuple[str, float, int]) -> QuestionCandidates:
    """Return candidates of one step each, from their final answers, scores and tokens."""
    answers, scores, tokens = zip(*candidates, strict=True)
    return QuestionCandidates(
        texts=tuple(f"candidate {index}. Final answer: {answer}" for index, answer in enumerate(answers)),
        step_scores=tuple((score,) for score in scores),
        tokens=tokens,
        finish_reasons=("stop",) * len(answers),
        critic="recorded",
        beam_texts={},
        beam_tokens={},
        beam_finish_reasons={},
    )


def grade(answer: str | None, known: str) -> bool:
    return answer == known


async def test_without_a_rule_all_candidates_are_written_and_the_best_wins() -> None:
    outcome = await replay(
        [recorded(("1", 0.4, 10), ("2", 0.9, 30), ("1", 0.6, 20))], ["2"], grade, StopRule()
    )
    assert (outcome.accuracy, outcome.tokens) == (1, 60)


async def test_a_score_stops_the_selection_and_the_tokens_of_drafts_count() -> None:
    """The second candidate is good enough. With two at a time, a third is a long draft by then."""
    question = recorded(("1", 0.4, 10), ("2", 0.9, 30), ("1", 0.99, 40), ("1", 0.99, 40))
    one, two = (StopRule(score=0.8, max_parallel=parallel) for parallel in (1, 2))
    assert (await replay([question], ["2"], grade, one)).tokens == 40
    outcome = await replay([question], ["2"], grade, two)
    assert outcome.accuracy == 1
    assert 55 <= outcome.tokens <= 65, "10 + 30, and the third wrote in about the last 20 of these 30 turns"


async def test_the_rule_of_fewest_tokens_that_costs_no_accuracy_is_chosen() -> None:
    """The right answer comes first in half of the questions, else after a wrong one scored 0.84."""
    easy = recorded(("2", 0.96, 10), *[("1", 0.2, 10)] * 7)
    hard = recorded(("1", 0.84, 10), ("2", 0.96, 10), *[("1", 0.2, 10)] * 6)
    candidates, answers = [easy, hard] * 4, ["2"] * 8
    careful = await choose_rule(candidates, answers, grade, max_parallel=1, allowed_loss=0.5, seed=0)
    assert careful.rule.score is not None and 0.84 < careful.rule.score <= 0.96
    assert (careful.full.accuracy, careful.adaptive.accuracy) == (1, 1)
    assert (careful.full.tokens, careful.adaptive.tokens) == (80, 15)
    assert careful.surely, "a rule that loses a half on average doesn't surely lose at most a half"
    bold = await choose_rule(candidates, answers, grade, max_parallel=1, allowed_loss=0.95, seed=0)
    assert bold.rule.score is not None and bold.rule.score <= 0.84
    assert (bold.adaptive.accuracy, bold.adaptive.tokens) == (0.5, 10)


async def test_few_questions_prove_nothing() -> None:
    """No rule loses any of 8 or of 40 questions. A loss of less than a tenth is only sure for the 40."""
    easy = recorded(("2", 0.96, 10), ("2", 0.97, 10))
    for number, surely in ((8, False), (40, True)):
        chosen = await choose_rule(
            [easy] * number, ["2"] * number, grade, max_parallel=1, allowed_loss=0.1, seed=0
        )
        assert chosen.adaptive.accuracy == 1 and chosen.surely == surely


async def test_a_candidate_that_was_cut_off_is_read_as_the_server_reads_it() -> None:
    """18 may be the beginning of 18 + 3, so the last line of a text that was cut off is no answer."""
    whole = replace(recorded(("", 0.9, 5)), texts=("I add the rows\n\n18",), step_scores=((0.9, 0.9),))
    cut_off = replace(whole, finish_reasons=("length",))
    assert (whole.answers, cut_off.answers) == (("18",), (None,))
    assert (await replay([whole], ["18"], grade, StopRule())).accuracy == 1
    assert (await replay([cut_off], ["18"], grade, StopRule())).accuracy == 0


async def test_if_every_rule_loses_the_one_that_loses_least_is_chosen() -> None:
    """A wrong answer with a very high score comes first, so every rule stops before the right one."""
    question = recorded(("1", 0.9999, 10), ("2", 1.0, 10))
    chosen = await choose_rule([question], ["2"], grade, max_parallel=1, allowed_loss=0.0, seed=0)
    assert (chosen.full.accuracy, chosen.adaptive.accuracy) == (1, 0) and chosen.rule.score in SCORES
    assert not chosen.surely


async def test_an_answer_that_is_not_recorded_has_no_score() -> None:
    from ttscaling.evaluation.replay import NO_QUESTION
    from ttscaling.recorded import RecordedCritic
    from ttscaling.types import CriticError

    with pytest.raises(CriticError, match="not recorded"):
        await RecordedCritic(recorded(("1", 0.5, 3))).score(NO_QUESTION, "another answer")
