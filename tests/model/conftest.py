"""Fixtures that run vLLM's multi-modal processing with our processor, without an engine."""

from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import WINDOW


@pytest.fixture(scope="module")
def processor(opengvlab_checkpoint: Path) -> Any:
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY

    from model.plugin.register import require_plugin

    require_plugin()
    config = ModelConfig(str(opengvlab_checkpoint), dtype="float32", max_model_len=4 * WINDOW)
    return MULTIMODAL_REGISTRY.create_processor(config)


@pytest.fixture(scope="module")
def cache(processor: Any) -> Any:
    from vllm.multimodal.cache import MultiModalProcessorOnlyCache

    return MultiModalProcessorOnlyCache(processor.info.ctx.model_config)
