"""Build vLLM's multi-modal processor with our plugin for a checkpoint, without an engine."""

from pathlib import Path
from typing import Any

from tests.checkpoints import WINDOW


def processor_of(checkpoint: Path) -> Any:
    """Return the processor that an engine would use for the checkpoint, with a window four times its own."""
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY

    from model.plugin.register import require_plugin

    require_plugin()
    config = ModelConfig(str(checkpoint), dtype="float32", max_model_len=4 * WINDOW)
    return MULTIMODAL_REGISTRY.create_processor(config)
