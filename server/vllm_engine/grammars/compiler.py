"""Check and compile one grammar as the engine does it, and tell what came of it."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from vllm.config.structured_outputs import StructuredOutputsConfig
from vllm.exceptions import VLLMError
from vllm.sampling_params import SamplingParams, StructuredOutputsParams
from vllm.v1.structured_output.request import get_structured_output_key

from model.plugin.grammars import GRAMMARS, build_backend
from server.vllm_engine.internals.grammar import check_grammar, grammar_backend

WARM_UP: tuple[Mapping[str, Any], ...] = (
    {"json": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    {"json": {"type": "integer", "multipleOf": 5}},  # only guidance knows it
    {"json": {"type": "object", "properties": {}, "patternProperties": {"^b": {}}}},  # only outlines knows it
    {"json_object": True},
    {"regex": "a|b"},
    {"choice": ["a", "b"]},
    {"grammar": 'root ::= "a"'},
    {"structural_tag": '{"type": "structural_tag", "format": {"type": "const_string", "value": "a"}}'},
)
CHECK_SECONDS = 0.1
MEMORY_MIB = 1024
READY = ("xgrammar", "guidance")  # backends that are built once; another is built in the fork that needs it


@dataclass(frozen=True, kw_only=True)
class GrammarSettings:
    """What decides how the engine compiles a grammar, and the limits of one compilation.

    `check_seconds` is the time that vLLM's check of the request may take: the server's event loop repeats it.
    `seconds` is the time of check and compilation together. `compact_json` is whether JSON is written without
    white space.
    """

    tokenizer: Any
    vocab_size: int
    config: StructuredOutputsConfig
    compact_json: bool
    seconds: float
    check_seconds: float
    memory_mib: int


def grammar_settings(client: Any, seconds: float) -> GrammarSettings:
    """Return what the engine of an `AsyncLLM` compiles with; one compilation may take so many seconds."""
    config = client.vllm_config
    return GrammarSettings(
        tokenizer=client.renderer.get_tokenizer(),
        vocab_size=config.model_config.get_vocab_size(),
        config=config.structured_outputs_config,
        compact_json=config.additional_config[GRAMMARS],
        seconds=seconds,
        check_seconds=CHECK_SECONDS,
        memory_mib=MEMORY_MIB,
    )


class Compiler:
    """vLLM's check of structured outputs and its two native compilers, set up as the engine does it."""

    def __init__(self, settings: GrammarSettings) -> None:
        self._settings = settings
        self._model = SimpleNamespace(is_diffusion=False, hf_config=SimpleNamespace(model_type="internvl"))
        self._backends = {name: self._backend(name) for name in READY}

    def warm_up(self) -> None:
        """Run vLLM's check once for each kind of grammar, as its first run takes ten times as long.

        This is done before any fork, so it must not compile: the compilers start threads, which no fork has.
        """
        for fields in WARM_UP:
            self._check(StructuredOutputsParams(**fields))

    def outcome(self, params: StructuredOutputsParams) -> str:
        """Check and compile; returns "compiled", "refused" (by the check), "slow", "foreign" or "failed"."""
        if refers_elsewhere(params.json):
            return "foreign"
        begun = time.thread_time()
        try:
            self._check(params)
        except (VLLMError, ValueError):
            return "refused"  # vLLM says why, in the server, at the same small cost
        finally:
            checked = time.thread_time() - begun
        if checked > self._settings.check_seconds:
            return "slow"
        name = grammar_backend(params)
        if name == "lm-format-enforcer":
            return "compiled"  # the operator chose it, and it compiles in Python
        try:
            backend = self._backends.get(name) or self._backend(name)
            grammar = backend.compile_grammar(*get_structured_output_key(params))
            first_tokens = backend.allocate_token_bitmask(1)
            grammar.fill_bitmask(first_tokens, 0)
        except (VLLMError, ValueError, RuntimeError, TypeError):
            return "failed"
        return "compiled" if first_tokens.any() else "failed"  # no token at all could begin an answer

    def _backend(self, name: str) -> Any:
        settings = self._settings
        config = SimpleNamespace(
            structured_outputs_config=settings.config, model_config=self._model, speculative_config=None
        )
        return build_backend(
            name,
            config,
            tokenizer=settings.tokenizer,
            vocab_size=settings.vocab_size,
            compact_json=settings.compact_json,
        )

    def _check(self, params: StructuredOutputsParams) -> None:
        sampling = SamplingParams(structured_outputs=params)
        check_grammar(sampling, self._model, self._settings.config, self._settings.tokenizer)


def refers_elsewhere(schema: Any) -> bool:
    """Return whether a JSON schema refers to another document, which nobody here would load."""
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            return False  # vLLM's check refuses it
    left = [schema]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                return True
            left += value.values()
        elif isinstance(value, list):
            left += value
    return False
