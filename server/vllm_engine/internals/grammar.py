"""What vLLM's parameters of a request don't offer: the check of its grammar, and the backend for it."""

from typing import Any


def grammar_backend(params: Any) -> str:
    """Return the name of the backend that vLLM has chosen for a request's grammar, or an empty text."""
    return params._backend or ""


def check_grammar(sampling: Any, model_config: Any, grammar_config: Any, tokenizer: Any) -> None:
    """Check the grammar of a request as the engine does, which also chooses its backend.

    Raises VLLMError and ValueError.

    Args:
        sampling: vLLM's `SamplingParams` of the request.
        model_config: vLLM's config of the model, or what the check reads of it.
        grammar_config: vLLM's `StructuredOutputsConfig`.
        tokenizer: the tokenizer of the engine.
    """
    sampling._validate_structured_outputs(model_config, grammar_config, tokenizer)
