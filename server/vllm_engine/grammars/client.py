"""An engine client whose requests reach the engine only with a grammar that compiles within the limits."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from vllm.exceptions import VLLMError

from server.errors import ApiError
from server.vllm_engine.error_mapping import api_error

from .checker import GrammarChecker
from .whitespace import limit_tag_whitespace


class GrammarCheckedClient:
    """vLLM's engine client for one request. `failure` is the refusal of its grammar, if there was one."""

    def __init__(self, client: Any, checker: GrammarChecker, *, param: str) -> None:
        """`param` is the field of the request that its grammar came with."""
        self._client = client
        self._checker = checker
        self._param = param
        self._has_passed = False  # all candidates of the request have one grammar
        self._limit_whitespace = lru_cache(maxsize=1)(limit_tag_whitespace)
        self.failure: ApiError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """Call vLLM's `EngineClient.generate`, after the grammar of `sampling_params` was compiled.

        The generator raises ApiError (400) at its first step if the grammar is refused.
        """
        params = sampling_params.structured_outputs
        if params is not None and params.structural_tag and self._checker.compact_json:
            params.structural_tag = self._limit_whitespace(params.structural_tag)
        generated: AsyncGenerator[Any, None] = self._client.generate(
            prompt, sampling_params, request_id, **options
        )
        if self._has_passed or params is None or params.all_constraints_none():
            return generated
        return self._generate_checked(generated, params)

    async def _generate_checked(
        self, generated: AsyncGenerator[Any, None], params: Any
    ) -> AsyncGenerator[Any, None]:
        async with aclosing(generated):  # a generator that was never started does nothing
            try:
                await self._checker.check(params, param=self._param)
            except ApiError as error:
                self.failure = error
                raise
            try:
                async for output in generated:
                    self._has_passed = True
                    yield output
            except (VLLMError, ValueError) as error:
                if self._has_passed:
                    raise
                self.failure = api_error(error)  # vLLM refuses the grammar with its own reason
                self.failure.param = self.failure.param or self._param
                raise self.failure from error


def grammar_param(body: Mapping[str, Any]) -> str:
    """Return the field of a chat request that its grammar comes from."""
    if body.get("response_format") not in (None, {}, {"type": "text"}):
        return "response_format"
    return "structured_outputs" if body.get("structured_outputs") else "tools"
