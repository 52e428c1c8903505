"""Completion requests: which fields reach vLLM, what a prompt may be, and where best_of works."""

import pytest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest

from server.errors import ApiError
from server.protocol.completion_call import FIELDS, OUR_FIELDS, parse_completion, prompts_of
from tests.server.apps import settings


def test_every_field_of_vllms_request_is_known():
    """A new vLLM has new fields: each is passed, refused or ours, and somebody has decided which."""
    known = set(CompletionRequest.model_fields)
    assert known - FIELDS.passed - FIELDS.refused - set(OUR_FIELDS) == set()
    assert FIELDS.passed - known == set()
    assert FIELDS.passed.isdisjoint(FIELDS.refused)


@pytest.mark.parametrize(
    "field",
    [{"prompt_embeds": "gASV"}, {"priority": -5}, {"vllm_xargs": {"x": 1}}, {"kv_transfer_params": {"x": 1}}],
    ids=lambda field: next(iter(field)),
)
def test_fields_that_steer_the_engine_are_refused(field):
    with pytest.raises(ApiError, match="not supported") as refused:
        parse_completion({"prompt": "Once", **field}, settings())
    assert (refused.value.param, refused.value.code) == (next(iter(field)), "unsupported_parameter")


@pytest.mark.parametrize(
    ("asks", "param"),
    [
        ({"best_of": 2}, "best_of"),
        ({"best_of": "2"}, "best_of"),
        ({"test_time_scaling": {"n": 4}}, "test_time_scaling"),
        ({"test_time_scaling": {}}, "test_time_scaling"),
        ({"model": "nano:bo8"}, "model"),
    ],
)
def test_test_time_scaling_is_refused_with_the_place_where_it_works(asks, param):
    with pytest.raises(ApiError, match="/v1/chat/completions and /v1/responses") as refused:
        parse_completion({"prompt": "Once", **asks}, settings())
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    "one",
    [{"best_of": 1}, {"best_of": None}, {"test_time_scaling": {"method": "none"}}, {"model": "nano:bo1"}],
)
def test_one_candidate_is_no_scaling(one):
    body = parse_completion({"prompt": "Once", **one}, settings()).body
    assert body["model"] == "nano" and not set(OUR_FIELDS) & set(body)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("Once", 1), (["Once", "Twice"], 2), ([5, 6, 7], 1), ([[5], [6, 7], [8]], 3)],
)
def test_a_prompt_is_a_text_or_token_ids_or_several(prompt, count):
    assert len(prompts_of(prompt)) == count


@pytest.mark.parametrize(
    "prompt", [None, "", [], [""], [[]], [[5], []], 5, {"text": "x"}, ["x", 5], [5, "x"], [-1], [True], [5.0]]
)
def test_anything_else_is_no_prompt(prompt):
    with pytest.raises(ApiError) as refused:
        parse_completion({"prompt": prompt}, settings())
    assert (refused.value.status, refused.value.param) == (400, "prompt")


def test_prompts_times_n_are_limited():
    assert parse_completion({"prompt": ["a", "b"], "n": 2}, settings(max_answers=4)).body["n"] == 2
    with pytest.raises(ApiError, match="4 completions, and this one asks for 6") as refused:
        parse_completion({"prompt": ["a", "b"], "n": 3}, settings(max_answers=4))
    assert refused.value.code == "too_many_answers"


@pytest.mark.parametrize("n", [0, 65, "2", 2.0])
def test_n_is_limited(n):
    with pytest.raises(ApiError) as refused:
        parse_completion({"prompt": "Once", "n": n}, settings())
    assert refused.value.param == "n"
