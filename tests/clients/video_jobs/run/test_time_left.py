"""The time left follows from the work that is done, not from the number of items."""

from clients.video_jobs.run.time_left import Pace, in_words


def test_long_items_count_for_more() -> None:
    clock = [100.0]
    pace = Pace(lambda: clock[0], total=100.0)
    assert in_words(pace.seconds_left) == "?"
    clock[0] = 130.0
    pace.add(10.0)  # one of two items, and a tenth of the work
    assert pace.seconds_left == 270.0
    assert pace.items_per_minute == 2.0
    pace.add(95.0)  # more than was expected
    assert pace.seconds_left == 0.0


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
