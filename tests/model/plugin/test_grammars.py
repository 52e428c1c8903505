"""vLLM's own manager of grammars, with our repair and without it, on nano's configuration and tokenizer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm import AsyncEngineArgs
from vllm.config import VllmConfig
from vllm.sampling_params import SamplingParams, StructuredOutputsParams
from vllm.v1.structured_output import StructuredOutputManager
from vllm.v1.structured_output.request import StructuredOutputRequest

from model.plugin.grammars import GRAMMARS, build_backend, use_backend_of_each_request
from model.plugin.register import register

pytestmark = pytest.mark.engine
NANO = Path(__file__).parents[3] / "model/nano/policy"
OF_XGRAMMAR = {"json": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
# xgrammar ignores the lengths where there is a pattern, so vLLM's check chooses guidance.
OF_GUIDANCE = {"json": {"type": "string", "pattern": "^a+$", "minLength": 2, "maxLength": 3}}


@pytest.fixture(scope="module")
def config() -> VllmConfig:
    register()
    return AsyncEngineArgs(model=str(NANO), enforce_eager=True).create_engine_config()


def managed(config: VllmConfig, **options: Any) -> StructuredOutputManager:
    config.additional_config = options
    return StructuredOutputManager(config)


def allows(manager: StructuredOutputManager, fields: dict[str, Any], text: str) -> bool:
    """Whether the grammar that an engine would use for a request allows a text."""
    params = StructuredOutputsParams(**fields)
    sampling, config = SamplingParams(structured_outputs=params), manager.vllm_config
    sampling._validate_structured_outputs(
        config.model_config, config.structured_outputs_config, manager.tokenizer
    )
    structured = StructuredOutputRequest(params=params)
    request = SimpleNamespace(request_id="r", sampling_params=sampling, structured_output_request=structured)
    manager.grammar_init(request)
    tokens = manager.tokenizer.encode(text, add_special_tokens=False)
    grammar: Any = structured._grammar
    allowed: bool = grammar.result().accept_tokens("r", tokens)
    return allowed


def test_each_grammar_is_compiled_by_the_backend_that_knows_it(config: VllmConfig):
    manager = managed(config, **{GRAMMARS: True})
    assert allows(manager, OF_XGRAMMAR, '{"a":7}')
    assert allows(manager, OF_GUIDANCE, '"aaa"') and not allows(manager, OF_GUIDANCE, '"aaaaaa"')
    assert allows(manager, OF_XGRAMMAR, '{"a":8}')
    assert not allows(manager, OF_XGRAMMAR, '{"a": 7}'), "there is no white space"


def test_white_space_is_allowed_if_the_operator_decides_about_it(config: VllmConfig):
    manager = managed(config, **{GRAMMARS: False})
    assert allows(manager, OF_XGRAMMAR, '{"a":    7}') and not allows(manager, OF_GUIDANCE, '"aaaaaa"')


def test_an_engine_that_does_not_ask_for_it_is_left_alone(config: VllmConfig):
    """The first grammar decides there: vLLM's fault, which the other tests show to be gone."""
    use_backend_of_each_request(StructuredOutputManager)
    manager = managed(config)
    assert allows(manager, OF_XGRAMMAR, '{"a":    7}')
    assert allows(manager, OF_GUIDANCE, '"aaaaaa"')


def test_another_name_is_refused(config: VllmConfig):
    with pytest.raises(ValueError, match="no backend"):
        build_backend("auto", config, tokenizer=None, vocab_size=1, compact_json=True)
