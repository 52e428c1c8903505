"""Findings count for the event that they name at its time, once."""

from bench.video_answers.scoring import Score, Span, score

TRUTH = (Span(10, 13, "digit 7"), Span(60, 62, "digit 7"), Span(70, 75, "digit 3"))


def test_each_event_is_found_once():
    findings = [
        Span(11, 13, "the digit 7"),
        Span(9.5, 14, "digit 7"),  # a duplicate
        Span(60, 62, "digit 1"),  # another digit
        Span(64.5, 75, "digit 3"),  # too early
        Span(70, 74, "digit 3"),
    ]
    assert score(findings, TRUTH) == Score(events=3, found=2, duplicates=1, invented=2, median_error=0.5)
    assert score(findings, TRUTH).recall == 2 / 3
    assert score(findings, TRUTH).precision == 2 / 5


def test_nothing_found_is_not_wrong():
    nothing = score([], TRUTH)
    assert (nothing.recall, nothing.precision, nothing.median_error) == (0, 1, None)
    assert score([], []).recall == 1
    assert score([Span(1, 2, "digit 3")], []).invented == 1
