"""What an engine needs on a GPU, compared with sums by hand."""

import pytest

from server.errors import StartupError
from server.vllm_engine.memory.need import GIB, GRAPHS, memory_need, require_whole_groups

from .plans import PIPELINE, TENSOR, plan


def test_the_need_of_8b_by_hand():
    need = memory_need(plan("InternVL3-8B"))
    assert need.weights == 15_888_747_520  # total_size of the published index
    # Keys and values, 28 layers, 4 heads of 128 numbers, 2 bytes, 32,768 tokens.
    assert need.cache == 2 * 28 * 4 * 128 * 2 * 32768
    assert need.total == need.weights + need.cache + need.working + GRAPHS


def test_tensor_parallelism_divides_weights_and_cache():
    one, four = memory_need(plan("InternVL3-78B")), memory_need(plan("InternVL3-78B", "policy", TENSOR, 4))
    assert four.cache == one.cache // 4
    # The 6B tower has 25 heads, so that each GPU keeps a whole copy of its attention, a third of the tower.
    tower, projector = 2 * 5_536_496_000, 2 * 172_008_448
    expected = (one.weights - tower - projector) / 4 + projector + tower * (1 / 3 + 2 / 3 / 4)
    assert four.weights == pytest.approx(expected, rel=1e-9)


def test_sixteen_heads_of_the_small_tower_are_divided_and_a_data_parallel_tower_is_not():
    tower, projector = 2 * 304_012_288, 2 * 27_540_480
    rest = 15_888_747_520 - tower - projector
    split = plan("InternVL3-8B", "policy", TENSOR, 2)
    assert memory_need(split).weights == pytest.approx(rest / 2 + projector + tower / 2)
    whole = plan("InternVL3-8B", "policy", TENSOR, 2, splits_vision=False)
    assert memory_need(whole).weights == pytest.approx(rest / 2 + projector + tower)


def test_a_cache_has_at_least_one_head_on_each_gpu():
    """InternVL3-1B has two heads of keys and values: seven GPUs hold a copy of one each."""
    assert memory_need(plan("InternVL3-1B", "policy", TENSOR, 7)).cache == 2 * 24 * 64 * 2 * 32768


def test_pipeline_stages_divide_the_layers_and_have_one_end_each():
    tower, projector, end = 2 * 304_012_288, 2 * 27_540_480, 2 * 543_599_616
    layers = 15_888_747_520 - tower - projector - 2 * end
    need = memory_need(plan("InternVL3-8B", "policy", PIPELINE, 3))  # stages of 10, 9 and 9 layers
    assert need.weights == pytest.approx(tower + projector + layers * 10 / 28 + end)
    assert need.cache == 2 * 10 * 4 * 128 * 2 * 32768


def test_the_operators_size_of_the_cache_counts():
    assert memory_need(plan("InternVL3-8B", cache_bytes=5 * GIB)).cache == 5 * GIB
    assert memory_need(plan("InternVL3-8B", cache_width=1)).cache == 28 * 4 * 128 * 2 * 32768


def test_the_working_memory_is_what_vllm_measured():
    """vLLM measured 1.26 GiB for Llama-3-8B; this has its language model, and no images.

    The log of vllm-project/vllm pull request 10511 was made with 8,192 tokens and 256 sequences.
    """
    llama = plan("InternVL2_5-8B", sequences=256)  # 92,553 entries in its vocabulary, Llama-3 has 128,256
    images = plan("InternVL2_5-8B", sequences=256, tokens_per_tile=10**9)
    assert memory_need(images).working / GIB == pytest.approx(1.26, rel=0.2)
    assert memory_need(llama).working > memory_need(images).working


@pytest.mark.parametrize(
    ("name", "ranks", "divides"),
    [
        ("InternVL3-78B-AWQ", 1, True),
        ("InternVL3-78B-AWQ", 2, False),  # 29,568 rows are 231 groups of 128
        ("InternVL3-78B-AWQ", 8, False),
        ("InternVL3-38B-AWQ", 2, True),  # 216 groups
        ("InternVL3-38B-AWQ", 8, True),
        ("InternVL3-8B-AWQ", 4, True),  # 148 groups
        ("InternVL3-8B-AWQ", 8, False),
        ("InternVL3-14B-AWQ", 8, False),  # 108 groups
        ("InternVL3-78B", 8, True),
    ],
)
def test_quantised_weights_split_only_between_groups(name, ranks, divides):
    engine = plan(name)
    if divides:
        require_whole_groups("policy", name, engine.config, ranks)
        return
    with pytest.raises(StartupError, match=f"use --policy-args '--pipeline-parallel-size {ranks}' instead"):
        require_whole_groups("policy", name, engine.config, ranks)


def test_lora_slots_take_their_matrices_in_every_layer():
    """Four slots of rank 16; the 8B has 28 layers, 28 and 4 heads of 128, and an MLP of 18,944."""
    inputs = 3 * 3584 + 3584 + 2 * 3584 + 18944  # of q, k, v; of the attention's output; of gate, up; of down
    outputs = 3584 + 2 * 512 + 3584 + 2 * 18944 + 3584
    plain, slots = memory_need(plan("InternVL3-8B")), memory_need(plan("InternVL3-8B", adapter_ranks=4 * 16))
    assert slots.weights - plain.weights == 4 * 16 * 28 * (inputs + outputs) * 2
