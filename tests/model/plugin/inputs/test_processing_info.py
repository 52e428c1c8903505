"""vLLM's memory profile runs the encoder on as many tiles as a real batch may hold."""

from pathlib import Path

import pytest

from model.plugin.register import require_plugin

TOKENS = 128  # of a batch, which are 32 tiles of the tiny checkpoint


@pytest.mark.parametrize(
    ("limits", "modality", "options"),
    [
        ({"image": 4, "video": 2}, "video", {}),
        ({"image": 4, "video": 0}, "image", {}),
        ({"image": 4, "video": 2}, "video", {"max_dynamic_patch": 2}),
        ({"image": 4, "video": 2}, "image", {"video_max_dynamic_patch": 1}),
    ],
)
def test_the_profile_fills_a_batch(
    limits: dict[str, int], modality: str, options: dict[str, int], opengvlab_checkpoint: Path
):
    from vllm import EngineArgs
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.multimodal.encoder_budget import MultiModalBudget

    require_plugin()
    config = EngineArgs(
        str(opengvlab_checkpoint),
        dtype="float32",
        max_num_batched_tokens=TOKENS,
        max_num_seqs=16,
        block_size=32,
        limit_mm_per_prompt=limits,
        mm_processor_kwargs=options,
    ).create_engine_config()
    budget = MultiModalBudget(config, MULTIMODAL_REGISTRY)
    items = budget.get_dummy_encoder_profile_inputs()
    assert budget.get_encoder_budget() == TOKENS
    assert {name for name, _ in items} == {modality}
    assert sum(len(item[f"{modality}_tiles"].data) for _, item in items) == TOKENS // 4
