"""Fixtures that run vLLM's multi-modal processing with our processor, without an engine."""

from pathlib import Path
from typing import Any

import pytest

from tests.processors import processor_of


@pytest.fixture(scope="module")
def processor(opengvlab_checkpoint: Path) -> Any:
    return processor_of(opengvlab_checkpoint)


@pytest.fixture(scope="module")
def cache(processor: Any) -> Any:
    from vllm.multimodal.cache import MultiModalProcessorOnlyCache

    return MultiModalProcessorOnlyCache(processor.info.ctx.model_config)
