"""Check the structural tags of a chat request before vLLM reads the request.

vLLM's request type compiles a structural tag while it validates the request, in the server's own process. A
tag with a schema of 5,000 references kills that process. All other grammars are compiled later.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter
from vllm.entrypoints.generate.base.protocol import AnyStructuralTagResponseFormat
from vllm.sampling_params import StructuredOutputsParams

from .checker import GrammarChecker


async def check_structural_tags(body: Mapping[str, Any], checker: GrammarChecker) -> None:
    """Compile the structural tags of a chat request's body in the checker's process.

    Raises ApiError as `GrammarChecker.check`. What is no structural tag passes: vLLM refuses it by itself.
    """
    for param, tag in _tags(body):
        await checker.check(StructuredOutputsParams(structural_tag=tag), param=param)


def _tags(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each field that holds a structural tag, with the tag as vLLM's request type compiles it."""
    answer, outputs = body.get("response_format"), body.get("structured_outputs")
    if isinstance(answer, Mapping) and answer.get("type") == "structural_tag":
        tag = None
        with suppress(ValueError, RecursionError):  # vLLM doesn't get as far as compiling it
            read = TypeAdapter(AnyStructuralTagResponseFormat).validate_python(answer)
            tag = json.dumps(read.model_dump(by_alias=True))
        if tag is not None:
            yield "response_format", tag
    if isinstance(outputs, Mapping) and isinstance(outputs.get("structural_tag"), str):
        yield "structured_outputs", outputs["structural_tag"]
