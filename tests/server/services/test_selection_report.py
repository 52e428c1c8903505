"""The order of the choices in a reply, and the reply's `vision`."""

from server.services.selection_report import ranking
from server.vllm_engine.policy.prompt_stats import PromptStats, add_vision_report
from tests.ttscaling.scripted import candidate
from ttscaling.types import ABANDONED, ScoredCandidate, Selection

STATS = PromptStats(deltas=(0.25,), tiles=9, frames=8, highest_position=41.0, next_position=42)


def test_the_selected_candidate_is_the_first_choice_and_all_choices_are_finished():
    def entry(index: int, score: float | None, reason: str = "stop") -> ScoredCandidate:
        return ScoredCandidate(
            candidate=candidate(index, "text", reason=reason), step_scores=None, score=score
        )

    entries = (entry(0, 0.2), entry(1, None), entry(2, 0.9), entry(3, None, ABANDONED), entry(5, 0.2))
    assert ranking(Selection(selected=5, candidates=entries)) == [5, 2, 0, 1]


def test_a_reply_says_how_the_media_were_seen():
    vision = {"v2pe_delta": 0.25, "highest_position": 41.0, "tiles": 9, "frames": 8}
    assert add_vision_report({"id": "x"}, STATS) == {"id": "x", "vision": vision}


def test_deltas_that_differ_are_listed():
    several = PromptStats(deltas=(0.25, 1.0), tiles=2, frames=0, highest_position=9.0, next_position=10)
    assert add_vision_report({}, several)["vision"]["v2pe_delta"] == [0.25, 1.0]


def test_text_alone_has_no_vision_report():
    text = PromptStats(deltas=(), tiles=0, frames=0, highest_position=3.0, next_position=4)
    assert add_vision_report({"id": "x"}, text) == add_vision_report({"id": "x"}, None) == {"id": "x"}


def test_the_usage_counts_no_tokens_for_deltas():
    usage = {"prompt_tokens_details": {"multimodal_tokens": {"video": 8, "v2pe": 1}}}
    assert add_vision_report({"usage": usage}, None)["usage"]["prompt_tokens_details"] == {
        "multimodal_tokens": {"video": 8}
    }
    for without in ({}, {"usage": None}, {"usage": {"prompt_tokens_details": None}}):
        assert add_vision_report(without, None) == without
