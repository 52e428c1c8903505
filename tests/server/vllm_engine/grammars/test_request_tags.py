"""The structural tags of a request are found in both fields, as vLLM's request type would compile them."""

import json
from typing import Any

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server.errors import ApiError
from server.vllm_engine.grammars.request_tags import check_structural_tags

FORMAT = {"type": "tag", "begin": "<a>", "content": {"type": "any_text"}, "end": "</a>"}
TAG = {"type": "structural_tag", "format": FORMAT}
OLD = {
    "type": "structural_tag",
    "structures": [{"begin": "<f>", "schema": {"type": "object"}, "end": "</f>"}],
    "triggers": ["<f"],
}


class Refusing:
    """A checker that refuses every grammar, and notes what it got."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.tags: list[tuple[str, Any]] = []
        self._refuses = refuses

    async def check(self, params: Any, *, param: str) -> None:
        self.tags.append((param, params.structural_tag))
        if self._refuses:
            raise ApiError("No.", param=param)


@pytest.mark.parametrize("tag", [TAG, OLD])
async def test_the_tag_is_what_vllm_compiles(tag: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    compiled: list[Any] = []
    monkeypatch.setattr(
        "vllm.v1.structured_output.backend_xgrammar.validate_xgrammar_grammar",
        lambda sampling: compiled.append(sampling.structured_outputs.structural_tag),
    )
    for fields in ({"response_format": tag}, {"structured_outputs": {"structural_tag": json.dumps(tag)}}):
        checker = Refusing()
        body = {"messages": [{"role": "user", "content": "?"}], **fields}
        await check_structural_tags(body, checker)  # type: ignore[arg-type]
        ChatCompletionRequest.model_validate(body)
        assert checker.tags == [(next(iter(fields)), compiled[-1])]


async def test_a_refusal_passes_through():
    with pytest.raises(ApiError) as error:
        await check_structural_tags({"response_format": TAG}, Refusing(refuses=True))  # type: ignore[arg-type]
    assert error.value.param == "response_format"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
        {"response_format": {"type": "structural_tag"}, "structured_outputs": {"structural_tag": 5}},
        {"response_format": "structural_tag", "structured_outputs": ["structural_tag"]},
    ],
)
async def test_what_is_no_tag_is_left_to_vllm(body: dict[str, Any]):
    checker = Refusing()
    await check_structural_tags(body, checker)  # type: ignore[arg-type]
    assert not checker.tags
