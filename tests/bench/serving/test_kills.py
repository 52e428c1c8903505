"""`internvl3 bench kills` without engines: the batch that it sends, and what it finds wrong with results."""

import json

from bench.serving.kills import answered_again, batch_file, differences
from server.protocol.batch_fields import custom_id_of

CHAT = "/v1/chat/completions"


def test_the_lines_are_those_of_a_batch_and_at_temperature_0():
    lines = [json.loads(line) for line in batch_file(8).splitlines()]
    assert [custom_id_of(line, CHAT) for line in lines] == [f"line-{number}" for number in range(8)]
    assert {line["body"]["temperature"] for line in lines} == {0}
    parts = [len(line["body"]["messages"][0]["content"]) for line in lines]
    assert parts == [2, 1, 1, 1, 2, 1, 1, 1]


def test_results_may_miss_stand_there_twice_or_differ():
    expected = [("a", "1"), ("b", "2"), ("c", "3")]
    assert differences(expected, expected) == {"missing": [], "twice": [], "different": []}
    assert differences(expected, [("a", "1"), ("c", "4"), ("c", "4")]) == {
        "missing": ["b"],
        "twice": ["c"],
        "different": ["c"],
    }


def test_lines_that_the_logs_call_answered_more_than_once():
    kept = "INFO internvl3.server: BATCH /v1/chat/completions 200 0.1s batch_req_1 line {} of batch_1 key=a\n"
    back = "INFO internvl3.server: BATCH /v1/chat/completions given back 0.1s r line 3 of batch_1 key=a\n"
    assert answered_again([kept.format(1) + kept.format(2) + back, kept.format(3)]) == []
    assert answered_again([kept.format(1) + kept.format(2), kept.format(2)]) == [2]
