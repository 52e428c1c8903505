"""Each method of vLLM that the plugin overrides is there, or a sentence says that it is gone."""

import pytest

from tests.vllm_contract import Need

PARSER = "vllm.multimodal.parse.MultiModalDataParser"
PROCESSOR = "vllm.multimodal.processing.processor.BaseMultiModalProcessor"
RUNNER = "vllm.v1.worker.gpu_model_runner.GPUModelRunner"
TILES = "cut images and videos into tiles"
SEEDS = "keep seeded sampling the same however a prompt is divided"
OVERRIDDEN = [
    Need(
        owner="vllm.renderers.base.BaseRenderer",
        name="_tokenize_prompt",
        purpose="read texts of clients as texts",
        parameters=("prompt", "params"),
    ),
    Need(owner=PARSER, name="_get_subparsers", purpose=TILES, parameters=()),
    Need(owner=PARSER, name="_parse_image_data", purpose=TILES, parameters=("data",)),
    Need(owner=PARSER, name="_parse_video_data", purpose=TILES, parameters=("data",)),
    Need(
        owner=PROCESSOR,
        name="_get_mm_hashes",
        purpose="keep media of two deltas apart",
        parameters=("inputs",),
    ),
    Need(owner=PROCESSOR, name="_call_hf_processor", purpose=TILES, parameters=("hf_data", "hf_kwargs")),
    Need(
        owner=PROCESSOR,
        name="_get_mm_fields_config",
        purpose=TILES,
        parameters=("hf_inputs", "hf_processor_mm_kwargs"),
    ),
    Need(
        owner=PROCESSOR,
        name="_get_prompt_updates",
        purpose="put visual tokens in the place of markers",
        parameters=("mm_items", "hf_processor_mm_kwargs", "out_mm_kwargs"),
    ),
    Need(
        owner="vllm.model_executor.models.llama.LlamaForCausalLM",
        name="_init_model",
        purpose="give language models the positions of V2PE",
        parameters=("vllm_config", "prefix", "layer_type"),
    ),
    Need(
        owner="vllm.model_executor.models.utils.WeightsMapper",
        name="_map_name_with_shard",
        purpose="load both layouts of checkpoints",
        parameters=("key",),
    ),
    Need(owner=RUNNER, name="_sample", purpose=SEEDS),
    Need(owner=RUNNER, name="_bookkeeping_sync", purpose=SEEDS),
]


@pytest.mark.parametrize("need", OVERRIDDEN, ids=lambda need: need.name)
def test_vllm_has_what_the_plugin_overrides(need: Need):
    assert need.problem is None, need.problem
