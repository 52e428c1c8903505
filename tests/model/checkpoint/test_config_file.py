"""A tuned delta reaches the prompts that the engine gets, through vLLM's processing without an engine."""

from pathlib import Path

import pytest

from model.checkpoint.config_file import read_delta, write_delta
from tests.checkpoints import Layout, build_checkpoint
from tests.model.plugin.inputs.test_processor import deltas, noise, process


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_a_request_without_a_delta_uses_the_tuned_one(tmp_path: Path, layout: Layout) -> None:
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY

    from model.plugin.register import require_plugin

    require_plugin()
    checkpoint = build_checkpoint(tmp_path, layout)
    assert read_delta(checkpoint) == 1
    write_delta(checkpoint, 1 / 16)
    config = ModelConfig(str(checkpoint), dtype="float32", max_model_len=2048)
    processor = MULTIMODAL_REGISTRY.create_processor(config)
    assert deltas(process(processor, "<image>?", [noise(50, 50)])) == [1 / 16]
    assert deltas(process(processor, "<image>?", [noise(50, 50)], v2pe_delta=0.5)) == [0.5]
