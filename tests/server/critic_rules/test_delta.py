"""With which delta a critic sees a candidate's images."""

import pytest

from server.critic_rules.delta import DeltaRule
from ttscaling.types import Conversation

MESSAGES = ({"role": "user", "content": "?"},)


def attempts(rule: DeltaRule, **vision: object) -> list[object]:
    conversation = Conversation(messages=MESSAGES, mm_processor_kwargs=vision)
    return [dict(attempt.mm_processor_kwargs) for attempt in rule.attempts(conversation)]


def test_its_own_delta_comes_first_and_the_requests_for_what_is_too_long():
    rule = DeltaRule(follows_request=False, policy_delta=0.5)
    assert attempts(rule, max_dynamic_patch=2) == [
        {"max_dynamic_patch": 2},
        {"max_dynamic_patch": 2, "v2pe_delta": 0.5},
    ]
    assert attempts(rule, v2pe_delta=0.25) == [{}, {"v2pe_delta": 0.25}]


def test_the_delta_of_the_request_is_the_only_one_if_the_critic_follows_it():
    rule = DeltaRule(follows_request=True, policy_delta=0.5)
    assert attempts(rule) == [{"v2pe_delta": 0.5}] and attempts(rule, v2pe_delta=1) == [{"v2pe_delta": 1}]


@pytest.mark.parametrize(
    ("delta", "own", "by_request"),
    [
        (None, False, True),
        (1, True, True),
        ((1, 1), True, True),
        ((1, 0.5), False, True),
        ("auto", False, False),
    ],
)
def test_scores_are_kept_if_all_lengths_are_seen_with_one_delta(delta: object, own: bool, by_request: bool):
    vision = {} if delta is None else {"v2pe_delta": delta}
    for follows, expected in ((False, own), (True, by_request)):
        rule = DeltaRule(follows_request=follows, policy_delta=0.5)
        assert rule.keeps_scores(vision, own_delta=1.0) == expected
