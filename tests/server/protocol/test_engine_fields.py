"""Only listed fields reach vLLM, and a misspelt field of ours is named."""

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server.errors import ApiError
from server.protocol.chat_call import OUR_FIELDS, parse_call
from server.protocol.engine_fields import MAX_FIELDS, PASSED, REFUSED
from tests.server.apps import question, settings


def test_every_field_of_vllms_request_is_known():
    """A new vLLM has new fields: each is passed, refused or ours, and somebody has decided which."""
    assert set(ChatCompletionRequest.model_fields) - PASSED - REFUSED - set(OUR_FIELDS) == set()
    assert (PASSED | REFUSED) - set(ChatCompletionRequest.model_fields) == set()
    assert PASSED.isdisjoint(REFUSED)


@pytest.mark.parametrize(
    "field",
    [
        {"kv_transfer_params": {"remote": 1}},
        {"ec_transfer_params": {"remote": 1}},
        {"vllm_xargs": {"kv_transfer_params": "x"}},
        {"priority": -5},
        {"session_id": "other"},
        {"stream_interval": 9},
    ],
    ids=lambda field: next(iter(field)),
)
def test_fields_that_steer_the_engine_are_refused(field):
    with pytest.raises(ApiError, match="not supported") as refused:
        parse_call(question(**field), settings())
    assert refused.value.param == next(iter(field))


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("bestof", "best_of"),
        ("best-of", "best_of"),
        ("bestOf", "best_of"),
        ("testTimeScaling", "test_time_scaling"),
        ("test_time_scalling", "test_time_scaling"),
        ("v2pe_detla", "v2pe_delta"),
        ("max_dynamic_patches", "max_dynamic_patch"),
        ("media_io_kwarg", "media_io_kwargs"),
    ],
)
def test_a_misspelt_field_of_ours_is_named(misspelt, meant):
    with pytest.raises(ApiError, match=f"Did you mean {meant}") as refused:
        parse_call(question(**{misspelt: 8}), settings())
    assert (refused.value.status, refused.value.param) == (400, misspelt)


@pytest.mark.parametrize(
    "name", ["store", "metadata", "service_tier", "modalities", "verbosity", "safety_identifier"]
)
def test_other_unknown_fields_are_left_out(name):
    assert name not in parse_call(question(**{name: "x"}), settings()).body


def test_empty_values_of_refused_fields_pass():
    call = parse_call(question(priority=0, vllm_xargs=None, kv_transfer_params={}), settings())
    assert not {"priority", "vllm_xargs", "kv_transfer_params"} & set(call.body)


def test_a_request_with_too_many_fields_is_refused():
    """Comparing 200,000 unknown names with ours would stop the server for ten seconds."""
    known = len(question())
    padding = {f"x{number}": 0 for number in range(MAX_FIELDS - known)}
    parse_call(question(**padding), settings())
    with pytest.raises(ApiError, match=f"{MAX_FIELDS} fields, not {MAX_FIELDS + 1}"):
        parse_call(question(**padding, one_more=0), settings())


def test_as_many_tools_as_openai_allows():
    def body(count: int):
        return question(tools=[{"type": "function", "function": {"name": f"f{n}"}} for n in range(count)])

    assert len(parse_call(body(128), settings()).body["tools"]) == 128
    with pytest.raises(ApiError, match="128 tools, not 129") as refused:
        parse_call(body(129), settings())
    assert refused.value.param == "tools"


@pytest.mark.parametrize("one", [{"best_of": 1}, {"model": "nano:bo1"}])
def test_one_candidate_gives_one_answer(one):
    with pytest.raises(ApiError, match="it is 3 and there is 1") as refused:
        parse_call(question(**one, n=3), settings())
    assert refused.value.param == "n"
    assert parse_call(question(n=3), settings()).n == 3
