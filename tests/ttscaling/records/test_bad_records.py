"""Bad records are counted and named, and stop a run once there are too many."""

import json

import pytest

from ttscaling.records.bad_records import GRACE, SHOWN, BadRecords, TooManyBadRecordsError, merge_counts


def test_a_share_of_zero_stops_at_the_first_bad_record() -> None:
    faults = BadRecords(allowed=0)
    faults.accept()
    with pytest.raises(TooManyBadRecordsError, match=r"1 of 2 records were bad.*\n.*a\.jsonl:2: no question"):
        faults.reject("a.jsonl:2: no question")


def test_few_bad_records_among_many_are_put_up_with() -> None:
    faults = BadRecords(allowed=0.01)
    for _ in range(990):
        faults.accept()
    for number in range(10):
        faults.reject(f"a.jsonl:{number}: bad")
    faults.check_share()
    with pytest.raises(TooManyBadRecordsError, match="11 of 1001"):
        faults.reject("a.jsonl:11: bad")


def test_a_short_file_of_bad_records_gets_through_the_grace_but_not_past_its_end() -> None:
    faults = BadRecords(allowed=0.01)
    for number in range(int(0.01 * GRACE)):
        faults.reject(f"a.jsonl:{number}: bad")
    with pytest.raises(TooManyBadRecordsError, match="10 of 10"):
        faults.check_share()


def test_the_summary_names_the_first_and_counts_the_rest() -> None:
    faults = BadRecords(allowed=1)
    for number in range(SHOWN + 5):
        faults.reject(f"a.jsonl:{number}: bad")
    lines = faults.summary().splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[1].strip() == "a.jsonl:0: bad"
    assert lines[-1].strip() == "... and 5 more"


def test_counting_goes_on_from_a_saved_state() -> None:
    faults = BadRecords(allowed=0.5)
    faults.accept()
    faults.reject("a.jsonl:2: bad")
    again = BadRecords(allowed=0.5)
    again.restore(json.loads(json.dumps(faults.state())))
    assert again == faults


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        BadRecords(allowed=share)


def test_parts_are_judged_as_one() -> None:
    parts = [BadRecords(allowed=1) for _ in range(SHOWN + 2)]
    for number, part in enumerate(parts):
        part.reject(f"a.jsonl:{number}: bad")
        for _ in range(199):
            part.accept()
    merge_counts(parts, 0.01).check_share()
    whole = merge_counts(parts, 0.004)
    assert whole.too_many and len(whole.examples) == SHOWN
    with pytest.raises(TooManyBadRecordsError, match="22 of 4400"):
        whole.check_share()


def test_many_records_without_a_good_one_stop_whatever_is_allowed() -> None:
    """Else a run of so many steps would look for one for ever."""
    faults = BadRecords(allowed=1)
    with pytest.raises(TooManyBadRecordsError, match=f"{GRACE} of {GRACE}"):
        for number in range(GRACE + 1):
            faults.reject(f"a.jsonl:{number}: bad")
