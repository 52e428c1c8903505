"""vLLM's real configuration of an engine becomes a plan, and its share goes back into the configuration.

The GPUs are numbers here, and vLLM's platform is the CPU. So a GPU's defaults, such as the tokens of one
step, are given as flags.
"""

from pathlib import Path

import pytest

from model.checkpoint.parameters import weight_bytes
from model.plugin.register import register
from server.vllm_engine.arguments import engine_arguments, engine_config
from server.vllm_engine.engine_flags import engine_roles
from server.vllm_engine.memory.machine import engine_plan, share_gpus, share_memory
from server.vllm_engine.memory.need import GIB, memory_need
from server.vllm_engine.memory.shares import USABLE
from tests.server.apps import settings

from .plans import visual_prm


def started(**chosen):
    """Return the plans and vLLM's configurations of nano's policy and critic, for these settings."""
    roles = engine_roles(settings(policy="nano", critic="nano", **chosen))
    arguments = engine_arguments(roles, settings(policy="nano", critic="nano", **chosen), cpu=False)
    configs = [engine_config(*pair) for pair in zip(roles, arguments, strict=True)]
    return [engine_plan(*pair) for pair in zip(roles, configs, strict=True)], configs


@pytest.fixture(scope="module", autouse=True)
def plugin():
    register()


def test_a_plan_says_what_the_engine_was_told():
    (policy, critic), configs = started(
        max_model_len=2048, policy_args="--max-num-seqs 7 --max-num-batched-tokens 4096 --dtype float32"
    )
    assert (policy.title, critic.title) == ("policy", "critic")
    assert policy.window == 2048 and policy.sequences == 7 and policy.batched_tokens == 4096
    assert policy.width == policy.cache_width == 4
    assert policy.devices == critic.devices == (0,)
    assert policy.share is None and policy.cache_bytes is None and policy.splits_vision
    assert policy.weights == weight_bytes(
        configs[0].model_config.hf_config, width=4, folder=Path(policy.name)
    )
    assert policy.tokens_per_tile == 9
    text = policy.config.text_config
    heads = text.num_key_value_heads * text.hidden_size // text.num_attention_heads
    assert memory_need(policy).cache == 2 * text.num_hidden_layers * heads * 2048 * 4


def test_the_operators_flags_reach_the_plan():
    (policy, critic), _ = started(
        policy_args="--gpu-memory-utilization 0.92 --kv-cache-dtype fp8"
        " --enable-lora --max-loras 3 --max-lora-rank 32",
        critic_args=f"--kv-cache-memory-bytes {GIB}",
    )
    assert policy.share == 0.92  # also vLLM's default, but here the operator's
    assert policy.cache_width == 1 and critic.cache_bytes == GIB and critic.share is None
    assert policy.adapter_ranks == 3 * 32 and critic.adapter_ranks == 0


def test_the_shares_reach_vllm_and_engines_on_one_gpu_start_in_turn():
    plans, configs = started()
    share_memory({0: 80 * GIB}, plans, configs)
    shares = [config.cache_config.gpu_memory_utilization for config in configs]
    assert sum(shares) == pytest.approx(USABLE, abs=0.002) and min(shares) > 0.4
    assert share_gpus(plans)
    assert not share_gpus([plans[0], visual_prm(devices=(1,))])
    assert share_gpus([visual_prm(devices=(0, 1)), visual_prm(devices=(1, 2))])
