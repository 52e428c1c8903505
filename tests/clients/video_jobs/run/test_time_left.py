"""The time left follows from the work that is done, not from the number of items."""

from clients.video_jobs.run.time_left import Pace, in_words


def test_long_items_count_for_more() -> None:
    clock = [100.0]
    pace = Pace(lambda: clock[0])
    for item in ("short", "long", "unknown"):
        pace.expect(item)
    pace.weigh("short", 10.0)
    pace.weigh("long", 90.0)
    assert in_words(pace.seconds_left) == "?"
    clock[0] = 130.0
    pace.end("short")
    assert pace.seconds_left == 30.0 * (90.0 + 50.0) / 10.0  # the unknown one counts as an average one
    assert pace.items_per_minute == 2.0
    pace.end("long")
    pace.end("unknown")
    assert pace.seconds_left == 0.0


def test_items_of_unknown_work_count_alike():
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    for item in "abcd":
        pace.expect(item)
    clock[0] = 10.0
    pace.end("a")
    assert pace.seconds_left == 30.0


def test_durations_in_words() -> None:
    durations = [None, 0, 29, 31, 3599, 3600, 7260]
    assert [in_words(seconds) for seconds in durations] == [
        "?",
        "0 s",
        "29 s",
        "1 min",
        "1 h 00 min",
        "1 h 00 min",
        "2 h 01 min",
    ]
