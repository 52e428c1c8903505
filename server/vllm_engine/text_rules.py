"""Set how an engine reads special tokens in the texts of requests, and check that they can be text."""

from typing import Any

from model.plugin.chat.renderer import InternVLRenderer
from server.errors import StartupError

from .engine_flags import EngineRole


def set_text_rules(renderer: Any, role: EngineRole, *, trusting: bool) -> None:
    """Set whether special tokens in the texts of requests are special tokens.

    Args:
        renderer: the renderer that vLLM made for the engine.
        role: the engine.
        trusting: what `--trust-special-tokens` says.

    Raises:
        StartupError: the renderer is not ours, so it would take them for real in any case.
    """
    if not isinstance(renderer, InternVLRenderer):
        raise StartupError(
            f"the {role.title} {role.path} reads texts of clients by {type(renderer).__name__}, which takes "
            "special tokens in them for real; install internvl3-serving again"
        )
    renderer.trust_special_tokens(trusting)
