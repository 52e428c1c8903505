"""Bad records are counted and named, and stop a run once there are too many."""

import json

import pytest

from ttscaling.train.data.faults import GRACE, SHOWN, Faults, TooManyBadRecordsError


def test_a_share_of_zero_stops_at_the_first_bad_record() -> None:
    faults = Faults(allowed=0)
    faults.accept()
    with pytest.raises(TooManyBadRecordsError, match=r"1 of 2 records were bad.*\n.*a\.jsonl:2: no question"):
        faults.reject("a.jsonl:2: no question")


def test_few_bad_records_among_many_are_put_up_with() -> None:
    faults = Faults(allowed=0.01)
    for _ in range(990):
        faults.accept()
    for number in range(10):
        faults.reject(f"a.jsonl:{number}: bad")
    faults.finish()
    with pytest.raises(TooManyBadRecordsError, match="11 of 1001"):
        faults.reject("a.jsonl:11: bad")


def test_a_short_file_of_bad_records_gets_through_the_grace_but_not_past_its_end() -> None:
    faults = Faults(allowed=0.01)
    for number in range(int(0.01 * GRACE)):
        faults.reject(f"a.jsonl:{number}: bad")
    with pytest.raises(TooManyBadRecordsError, match="10 of 10"):
        faults.finish()


def test_the_summary_names_the_first_and_counts_the_rest() -> None:
    faults = Faults(allowed=1)
    for number in range(SHOWN + 5):
        faults.reject(f"a.jsonl:{number}: bad")
    lines = faults.summary().splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[1].strip() == "a.jsonl:0: bad"
    assert lines[-1].strip() == "... and 5 more"


def test_counting_goes_on_from_a_saved_state() -> None:
    faults = Faults(allowed=0.5)
    faults.accept()
    faults.reject("a.jsonl:2: bad")
    again = Faults(allowed=0.5)
    again.restore(json.loads(json.dumps(faults.state())))
    assert again == faults


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Faults(allowed=share)
