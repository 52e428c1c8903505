"""Grammars that kill or stall vLLM's compilers are refused, and ordinary ones pass, in the real process."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from transformers import AutoTokenizer
from vllm.config.structured_outputs import StructuredOutputsConfig
from vllm.sampling_params import StructuredOutputsParams

from server.errors import TOO_COMPLEX, ApiError
from server.vllm_engine.grammars.checker import GrammarChecker
from server.vllm_engine.grammars.compiler import GrammarSettings

NANO = Path(__file__).parents[4] / "model/nano/policy"


def chained(links: int, **link: Any) -> dict[str, Any]:
    """A schema of so many definitions, each of which refers to the next."""
    definitions: dict[str, Any] = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(links)}
    if link:
        definitions = {name: {**link, "properties": {"next": ref}} for name, ref in definitions.items()}
    return {"$defs": definitions | {f"a{links}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def tag(schema: dict[str, Any]) -> str:
    """A structural tag with JSON of this schema in it."""
    content = {"type": "json_schema", "json_schema": schema}
    between = {"type": "tag", "begin": "<a>", "content": content, "end": "</a>"}
    return json.dumps({"type": "structural_tag", "format": between})


ORDINARY: dict[str, dict[str, Any]] = {
    "object": {
        "json": {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    },
    "guidance's": {"json": {"type": "array", "items": {"type": "integer", "multipleOf": 5}}},
    "outlines'": {
        "json": {
            "type": "object",
            "properties": {"id": {"type": "integer"}},
            "patternProperties": {"^x-": {"type": "string"}},
        }
    },
    "any object": {"json_object": True},
    "regex": {"regex": "(yes|no)[.!]{1,3}"},
    "choice": {"choice": ["cat", "dog"]},
    "grammar": {"grammar": 'root ::= "a" root | "b"'},
    "nested": {"json": chained(20, type="object")},
    "tag": {"structural_tag": tag(chained(20, type="object"))},
}


HOSTILE: dict[str, dict[str, Any]] = {
    "5,000 objects in a tag": {"structural_tag": tag(chained(5000, type="object"))},
    "20,000 references in a tag": {"structural_tag": tag(chained(20_000))},
    "5,000 objects in a chain": {"json": chained(5000, type="object")},
    "20,000 references in a chain": {"json": chained(20_000)},
    "100,000 words": {"json": {"enum": [f"word {number:07d}" for number in range(100_000)]}},
    "100,000 choices": {"choice": [f"word {number:07d}" for number in range(100_000)]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def checker() -> AsyncIterator[GrammarChecker]:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    checker = GrammarChecker()
    checker.start()
    checker.configure(
        GrammarSettings(
            tokenizer=tokenizer,
            vocab_size=len(tokenizer),
            config=StructuredOutputsConfig(),
            compact_json=True,
            seconds=5.0,
            check_seconds=0.1,
            memory_mib=1024,
        )
    )
    await checker.ready()
    yield checker
    process = await checker._starting  # type: ignore[misc]
    checker.close()
    await process.wait()
    await asyncio.sleep(0)


pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("fields", ORDINARY.values(), ids=ORDINARY.keys())
async def test_ordinary_grammars_pass(checker: GrammarChecker, fields: dict[str, Any]):
    await checker.check(StructuredOutputsParams(**fields), param="structured_outputs")
    await checker.check(StructuredOutputsParams(**fields), param="structured_outputs")


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_grammars_are_refused(checker: GrammarChecker, fields: dict[str, Any]):
    with pytest.raises(ApiError, match="smaller or simpler") as refusal:
        await checker.check(StructuredOutputsParams(**fields), param="response_format")
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (
        400,
        TOO_COMPLEX,
        "response_format",
    )
    await checker.check(StructuredOutputsParams(**ORDINARY["object"]), param="response_format")


async def test_a_refused_grammar_is_refused_at_once_the_second_time(checker: GrammarChecker):
    """Once every repetition took five seconds of a core."""
    params = StructuredOutputsParams(**HOSTILE["100,000 words"])
    messages = []
    for _ in range(2):
        compilations = checker._numbers
        with pytest.raises(ApiError) as refusal:
            await checker.check(params, param="response_format")
        messages.append(refusal.value.message)
    assert messages[0] == messages[1]
    assert checker._numbers == compilations, "the process was not asked again"


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "#"}, "no answer fits it"),
        ({"$ref": "http://127.0.0.1/x\nforged line"}, "another document"),
        ({"type": "object", "properties": {"a": {"$ref": "other.json#/a"}}}, "another document"),
    ],
)
async def test_schemas_that_allow_nothing_or_lead_elsewhere_are_refused(
    checker: GrammarChecker, schema: dict[str, Any], problem: str, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(ApiError, match=problem):
        await checker.check(StructuredOutputsParams(json=schema), param="response_format")
    assert "forged" not in capfd.readouterr().err, "the libraries' warnings quote the schema"


async def test_an_ordinary_tool_passes_a_short_limit(checker: GrammarChecker):
    """The first check of each kind once took ten times as long as the later ones, in every fork."""
    tag = {"type": "structural_tag", "format": {"type": "json_schema", "json_schema": {"type": "object"}}}
    await checker.check(StructuredOutputsParams(structural_tag=json.dumps(tag)), param="tools")


async def test_what_vllm_refuses_itself_passes(checker: GrammarChecker):
    await checker.check(StructuredOutputsParams(json={"type": "nonsense"}), param="response_format")
    await checker.check(StructuredOutputsParams(grammar="root ::= ("), param="structured_outputs")


async def test_many_at_once(checker: GrammarChecker):
    """A hostile one among them holds the others up no longer than its own limit."""
    schemas = [{"type": "object", "properties": {f"key {n}": {"type": "string"}}} for n in range(8)]
    checks = [checker.check(StructuredOutputsParams(json=schema), param="p") for schema in schemas]
    hostile = checker.check(StructuredOutputsParams(json=chained(20_000)), param="p")
    *outcomes, refusal = await asyncio.gather(*checks, hostile, return_exceptions=True)
    assert outcomes == [None] * len(schemas) and isinstance(refusal, ApiError)


async def test_the_process_is_started_anew_when_it_has_ended(checker: GrammarChecker):
    process = await checker._starting  # type: ignore[misc]
    process.kill()
    await process.wait()
    await asyncio.sleep(0.1)
    await checker.check(StructuredOutputsParams(choice=["after", "all"]), param="structured_outputs")
