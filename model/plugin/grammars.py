"""Compile the grammar of each request with the backend that fits it, and JSON without endless white space.

vLLM 0.32 chooses a backend for every request ("auto"), because no backend knows all grammars. But its engine
compiles all grammars with the backend of the first request that had one. And it lets a model write JSON
without white space only with one fixed backend. An engine that is started with `GRAMMARS` in its
`additional_config` has neither fault; other engines stay as vLLM made them (docs/decisions/0034).
"""

from functools import wraps
from types import SimpleNamespace
from typing import Any

GRAMMARS = "internvl3_grammars"
"""The key in vLLM's `additional_config`.

Its value says how JSON is written: true means without white space, false means with any white space.
"""


def build_backend(name: str, config: Any, *, tokenizer: Any, vocab_size: int, compact_json: bool) -> Any:
    """Return one of the backends that "auto" chooses among: "xgrammar", "guidance" or "outlines".

    Outlines honours no `compact_json`; it gets only the schemas that the other two don't know. Raises
    ValueError for another name.

    Args:
        name: the backend's name.
        config: vLLM's configuration, of which the backend takes its other options.
        tokenizer: the policy's tokenizer.
        vocab_size: the number of the model's logits.
        compact_json: whether JSON is written without white space.
    """
    if name == "xgrammar":
        from vllm.v1.structured_output.backend_xgrammar import XgrammarBackend as Backend
    elif name == "guidance":
        from vllm.v1.structured_output.backend_guidance import GuidanceBackend as Backend
    elif name == "outlines":
        from vllm.v1.structured_output.backend_outlines import OutlinesBackend as Backend
    else:
        raise ValueError(f"{name} is no backend that vLLM chooses by itself")
    backend = Backend(config, tokenizer=tokenizer, vocab_size=vocab_size)
    backend.disable_any_whitespace = compact_json or getattr(backend, "disable_any_whitespace", False)
    return backend


def use_backend_of_each_request(manager: type[Any]) -> None:
    """Repair vLLM's `StructuredOutputManager` in place; a second call changes nothing."""
    if hasattr(manager, "_has_own_backends"):
        return
    init, create = manager.grammar_init, manager._create_grammar

    @wraps(init)
    def init_with_own_backend(self: Any, request: Any) -> None:
        name = _backend_name(self, request)
        if name is not None:
            backends = self.__dict__.setdefault("_backends", {})
            if name not in backends:
                backends[name] = build_backend(
                    name,
                    self.vllm_config,
                    tokenizer=self.tokenizer,
                    vocab_size=self.vllm_config.model_config.get_vocab_size(),
                    compact_json=self.vllm_config.additional_config[GRAMMARS],
                )
            self.backend = self.backend or backends[name]  # allocates the bit masks, which all share
        init(self, request)

    @wraps(create)
    def create_with_own_backend(self: Any, request: Any) -> Any:
        name = _backend_name(self, request)
        return create(self if name is None else SimpleNamespace(backend=self._backends[name]), request)

    manager.grammar_init, manager._create_grammar = init_with_own_backend, create_with_own_backend
    manager._has_own_backends = True


def _backend_name(manager: Any, request: Any) -> str | None:
    """Return the backend that the check of a request chose, or None where vLLM's own way applies."""
    options = manager.vllm_config.additional_config
    if request.structured_output_request is None or not isinstance(options, dict) or GRAMMARS not in options:
        return None
    params = request.sampling_params.structured_outputs
    return params._backend if params._backend_was_auto else None
