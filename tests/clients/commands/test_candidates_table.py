"""The table of candidates shows every step beside its score, and no control characters."""

from typing import Any

from rich.console import Console

from clients.commands.candidates_table import candidates_view
from clients.commands.printable import printable
from clients.sdk.completions import ScalingReport
from tests.clients.chat_server import scaling


def shown(report: dict[str, Any]) -> str:
    console = Console(width=120, record=True)
    console.print(candidates_view(ScalingReport.model_validate(report)))
    return console.export_text()


def test_the_best_candidate_comes_first_with_a_score_beside_every_step() -> None:
    text = shown(
        scaling(("3 + 4 = 8.\n\nFinal answer: 8", 0.25), ("3 + 4 = 7.\n\nFinal answer: 7", 0.875), selected=1)
    )
    rows = [line.split() for line in text.splitlines() if line.strip()]
    assert " ".join(rows[0]) == "best_of_n: 2 candidates, scored by nano-critic (mean of the steps)"
    assert rows[2] == ["1", "(chosen)", "0.875", "0.875", "3", "+", "4", "=", "7."]
    assert rows[3] == ["0.875", "Final", "answer:", "7"]
    assert rows[4] == ["0", "0.250", "0.250", "3", "+", "4", "=", "8."]
    assert rows[5] == ["0.250", "Final", "answer:", "8"]


def test_a_candidate_without_scores_is_shown_as_one_step() -> None:
    report = scaling(("a\n\nb", 0.0), ("c", 0.0), selected=0)
    for candidate in report["candidates"]:
        candidate |= {"score": None, "step_scores": None, "steps": None, "finish_reason": "length"}
    text = shown({**report, "critic": None, "degraded": "the critic is gone"})
    assert "best_of_n: 2 candidates\n" in text
    assert "0 (chosen, cut off)" in text
    assert "b" in text
    assert "Not everything succeeded: the critic is gone" in text


def test_the_final_answers_stand_below_with_their_candidates() -> None:
    votes = [
        {"answer": "7", "candidates": [0, 2], "score": 1.25},
        {"answer": "\x1b8", "candidates": [1], "score": None},
    ]
    text = shown({**scaling(("a", 0.5), selected=0), "votes": votes})
    assert "Final answers: 7 (candidates 0, 2, scores add up to 1.250); \ufffd8 (candidate 1)" in text


def test_text_can_neither_steer_the_terminal_nor_be_markup() -> None:
    assert printable("\x1b[2Jred\x07\n[bold]x[/bold]\té").plain == "\ufffd[2Jred\ufffd\n[bold]x[/bold]\té"
    assert "[bold]x[/bold]" in shown(scaling(("[bold]x[/bold] [/]", 0.5), selected=0))
