"""Our renderers on tiny checkpoints, as vLLM makes them, without an engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import WINDOW, build_checkpoint

MakeRenderer = Callable[..., Any]


def make_renderer(checkpoint: Path, **options: Any) -> Any:
    """Return the renderer that vLLM makes for a checkpoint with these engine arguments."""
    from vllm import AsyncEngineArgs
    from vllm.renderers import renderer_from_config

    from model.plugin.register import require_plugin

    require_plugin()
    args = AsyncEngineArgs(
        str(checkpoint), dtype="float32", max_model_len=4 * WINDOW, enforce_eager=True, **options
    )
    return renderer_from_config(args.create_engine_config())


@pytest.fixture(scope="session")
def grounding_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random checkpoint whose tokenizer has the tokens that mark objects in an image."""
    folder = tmp_path_factory.mktemp("with_grounding_tokens")
    return build_checkpoint(folder, "opengvlab", grounding=True)


@pytest.fixture(scope="module")
def renderer(grounding_checkpoint: Path) -> Any:
    return make_renderer(grounding_checkpoint)
