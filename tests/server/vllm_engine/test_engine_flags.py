"""The flags that the server passes to vLLM."""

import json
from itertools import pairwise

from server.vllm_engine.engine_flags import engine_flags, engine_roles
from tests.server.apps import settings


def flags(
    *,
    cpu: bool = True,
    critic: bool = False,
    own_dtype: str = "bfloat16",
    backbone: str = "qwen2",
    **chosen,
) -> dict[str, str]:
    """Return the flags by name. A flag without a value gets the next flag as its value."""
    configured = settings(policy="/models/p", critic="/models/c", **chosen)
    role = engine_roles(configured)[critic]
    command_line = engine_flags(role, configured, own_dtype=own_dtype, backbone=backbone, cpu=cpu)
    return dict(pairwise(command_line))


def test_limits_reach_the_engine():
    passed = flags(max_images=3, max_videos=2, max_tiles=4, max_total_tiles=9)
    assert json.loads(passed["--limit-mm-per-prompt"]) == {"image": 3, "video": 2}
    assert json.loads(passed["--mm-processor-kwargs"]) == {
        "max_dynamic_patch": 4,
        "max_dynamic_patch_total": 9,
    }


def test_a_limit_that_is_not_set_is_the_checkpoints():
    assert "--mm-processor-kwargs" not in flags()


def test_the_context_is_the_checkpoints_unless_the_operator_sets_it():
    assert "--max-model-len" not in flags()
    assert flags(max_model_len=100)["--max-model-len"] == "100"


def test_the_operators_own_flags_come_last():
    configured = settings(policy="/models/p", policy_args="--seed 3 --dtype float32")
    role = engine_roles(configured)[0]
    command_line = engine_flags(role, configured, own_dtype="float32", backbone="qwen2", cpu=False)
    assert command_line[-4:] == ["--seed", "3", "--dtype", "float32"]


def test_the_cache_has_a_size_of_its_own_on_a_cpu_only():
    """On a GPU the size follows from the share of memory (server/vllm_engine/memory)."""
    assert flags(kv_cache_gib=2)["--kv-cache-memory-bytes"] == str(2 * 2**30)
    assert "--kv-cache-memory-bytes" not in flags(cpu=False)


def test_a_critic_is_never_served_in_float16_unasked():
    assert flags(critic=True, own_dtype="float32")["--dtype"] == "float32"
    assert flags(critic=True, own_dtype="float32", cpu=False)["--dtype"] == "bfloat16"
    assert flags(critic=True, own_dtype="bfloat16")["--dtype"] == "auto"
    assert flags(critic=True, own_dtype="float32", dtype="float16")["--dtype"] == "float16"
    assert flags(own_dtype="float32")["--dtype"] == "auto"


def test_tools_work_with_qwen_backbones_without_a_flag():
    for backbone in ("qwen2", "qwen3"):
        passed = flags(backbone=backbone)
        assert passed["--tool-call-parser"] == "hermes" and "--enable-auto-tool-choice" in passed
    for others in (flags(backbone="internlm2"), flags(critic=True)):
        assert "--tool-call-parser" not in others and "--enable-auto-tool-choice" not in others
