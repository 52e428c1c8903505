"""Bad records are counted and named, and stop a run once there are too many."""

import json

import pytest

from ttscaling.records.bad_records import GRACE, SHOWN, BadRecords, TooManyBadRecordsError, merge_counts


def test_a_share_of_zero_stops_at_the_first_bad_record() -> None:
    bad_records = BadRecords(allowed=0)
    bad_records.accept()
    with pytest.raises(TooManyBadRecordsError, match=r"1 of 2 records were bad.*\n.*a\.jsonl:2: no question"):
        bad_records.reject("a.jsonl:2: no question")


def test_few_bad_records_among_many_are_allowed() -> None:
    bad_records = BadRecords(allowed=0.01)
    for _ in range(990):
        bad_records.accept()
    for number in range(10):
        bad_records.reject(f"a.jsonl:{number}: bad")
    bad_records.check_share()
    with pytest.raises(TooManyBadRecordsError, match="11 of 1001"):
        bad_records.reject("a.jsonl:11: bad")


def test_a_short_file_of_bad_records_is_refused_at_its_end() -> None:
    bad_records = BadRecords(allowed=0.01)
    for number in range(int(0.01 * GRACE)):
        bad_records.reject(f"a.jsonl:{number}: bad")
    with pytest.raises(TooManyBadRecordsError, match="10 of 10"):
        bad_records.check_share()


def test_the_summary_names_the_first_bad_records_and_counts_the_others() -> None:
    bad_records = BadRecords(allowed=1)
    for number in range(SHOWN + 5):
        bad_records.reject(f"a.jsonl:{number}: bad")
    lines = bad_records.summary().splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[1].strip() == "a.jsonl:0: bad"
    assert lines[-1].strip() == "... and 5 more"


def test_records_that_are_too_long_are_counted_apart() -> None:
    reports: list[str] = []
    bad_records = BadRecords(allowed=0, tell=reports.append)
    bad_records.accept()
    for number in range(2 * GRACE):
        bad_records.leave_out(f"a.jsonl:{number}: 9 tokens don't fit")
    bad_records.check_share()
    assert (bad_records.bad, bad_records.too_long, len(reports)) == (0, 2 * GRACE, SHOWN)
    assert merge_counts([bad_records, bad_records], 0.0).too_long == 4 * GRACE


def test_if_all_records_are_too_long_the_reader_stops() -> None:
    bad_records = BadRecords(allowed=0, tell=lambda problem: None)
    with pytest.raises(TooManyBadRecordsError, match=r"1000 records are too long .* none can be used"):
        for number in range(2 * GRACE):
            bad_records.leave_out(f"a.jsonl:{number}: 9 tokens don't fit")


def test_counting_goes_on_from_a_saved_state() -> None:
    bad_records = BadRecords(allowed=0.5)
    bad_records.accept()
    bad_records.reject("a.jsonl:2: bad")
    bad_records.leave_out("a.jsonl:3: too long")
    again = BadRecords(allowed=0.5)
    again.restore(json.loads(json.dumps(bad_records.state())))
    assert again == bad_records


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        BadRecords(allowed=share)


def test_counts_are_merged_under_one_share() -> None:
    parts = [BadRecords(allowed=1) for _ in range(SHOWN + 2)]
    for number, part in enumerate(parts):
        part.reject(f"a.jsonl:{number}: bad")
        for _ in range(199):
            part.accept()
    merge_counts(parts, 0.01).check_share()
    total = merge_counts(parts, 0.004)
    assert total.too_many and len(total.examples) == SHOWN
    with pytest.raises(TooManyBadRecordsError, match="22 of 4400"):
        total.check_share()


def test_many_records_without_a_good_one_stop_any_run() -> None:
    """Otherwise a run would look for a good record for ever."""
    bad_records = BadRecords(allowed=1)
    with pytest.raises(TooManyBadRecordsError, match=f"{GRACE} of {GRACE}"):
        for number in range(GRACE + 1):
            bad_records.reject(f"a.jsonl:{number}: bad")
