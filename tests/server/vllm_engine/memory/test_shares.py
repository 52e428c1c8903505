"""How the memory of GPUs is divided, for the published sizes with VisualPRM-8B as critic."""

import re
from dataclasses import replace
from itertools import product

import pytest

from server.errors import StartupError
from server.vllm_engine.memory.need import GIB, EnginePlan, memory_need
from server.vllm_engine.memory.shares import USABLE, memory_shares

from .plans import BLOCK, GPU_80_GB, PAGE, PIPELINE, TENSOR, gpus, lines, plan, visual_prm

FITTING = [
    ("InternVL3-1B",),
    ("InternVL3-8B",),
    ("InternVL3-14B",),
    ("InternVL3-38B", TENSOR, 2),
    ("InternVL3-78B", TENSOR, 4),
    ("InternVL3-78B", TENSOR, 8),
    ("InternVL3-78B-AWQ", PIPELINE, 2),
]


@pytest.mark.parametrize("size", FITTING, ids=str)
def test_both_engines_fit_on_the_gpu_that_they_share(size):
    name, *flags = size
    policy, critic = plan(name, "policy", *flags), visual_prm()
    shares = memory_shares(gpus(8), [policy, critic])
    needs = [memory_need(engine).total for engine in (policy, critic)]
    got = [share * GPU_80_GB for share in shares]
    assert all(mine >= need - GPU_80_GB / 1000 for mine, need in zip(got, needs, strict=True))
    assert USABLE - 0.002 <= sum(shares) <= USABLE
    # What is left is divided equally.
    assert got[0] - needs[0] == pytest.approx(got[1] - needs[1], abs=GPU_80_GB / 500)


@pytest.mark.parametrize("size", [*FITTING, ("InternVL3-78B-AWQ",)], ids=str)
def test_engines_on_gpus_of_their_own_get_all_of_them(size):
    name, *flags = size
    policy = plan(name, "policy", *flags)
    assert memory_shares(gpus(9), [policy, visual_prm(devices=(8,))]) == [USABLE, USABLE]
    assert memory_shares(gpus(8), [policy]) == [USABLE]


def test_one_share_holds_for_all_gpus_of_an_engine():
    """The policy gets on its second GPU what it gets beside the critic, because vLLM knows one share."""
    policy, critic = plan("InternVL3-38B", "policy", TENSOR, 2), visual_prm(devices=(1,))
    first = memory_shares(gpus(2), [policy, visual_prm()])
    assert memory_shares(gpus(2), [policy, critic]) == first


def test_the_smaller_gpu_decides():
    policy = plan("InternVL3-8B", "policy", TENSOR, 2)
    cards = {0: GPU_80_GB, 1: GPU_80_GB // 2}
    shared = memory_shares(cards, [policy, visual_prm(devices=(1,))])
    assert sum(shares * cards[1] for shares in shared) <= USABLE * cards[1]
    assert memory_shares(cards, [policy]) == [USABLE]


def test_the_operators_share_wins_and_the_other_engine_gets_the_rest():
    policy, critic = plan("InternVL3-8B", share=0.5), visual_prm()
    assert memory_shares(gpus(1), [policy, critic]) == [0.5, pytest.approx(USABLE - 0.5)]
    # Nothing is refused if the operator has set both shares.
    assert memory_shares(gpus(1), [policy, replace(critic, share=0.9)]) == [0.5, 0.9]
    with pytest.raises(StartupError, match=r"has 55\.8 GiB .* lower the --gpu-memory-utilization"):
        memory_shares(gpus(1), [replace(policy, share=0.7), critic])


def test_an_engine_with_a_set_cache_gets_no_more_than_it_needs():
    policy, critic = plan("InternVL3-8B", cache_bytes=4 * GIB), visual_prm()
    shares = memory_shares(gpus(1), [policy, critic])
    assert shares[0] == pytest.approx(memory_need(policy).total / GPU_80_GB, abs=0.001)
    assert shares[1] == pytest.approx(USABLE - shares[0], abs=0.002)


def test_what_can_not_fit_is_refused_in_one_line_that_says_what_to_change():
    large, awq = plan("InternVL3-38B"), plan("InternVL3-78B-AWQ")
    line = refusal(1, large, visual_prm())
    assert line == (
        "the policy InternVL3-38B needs 86.6 GiB and the critic VisualPRM-8B needs 23.1 GiB of GPU 0, where "
        "engines may take 73.3 GiB: spread the policy over more GPUs with --policy-args "
        "'--tensor-parallel-size 2', or use a quantised checkpoint for the policy"
    )
    line = refusal(2, plan("InternVL3-78B", "policy", TENSOR, 2))
    assert "--tensor-parallel-size 4" in line and "quantised checkpoint" in line
    line = refusal(1, awq, visual_prm())
    assert "give the critic a GPU of its own with --critic-args '--device-ids N'" in line
    assert "--policy-args '--pipeline-parallel-size 2'" in line and "quantised" not in line
    line = refusal(2, plan("InternVL3-78B-AWQ", "policy", TENSOR, 2))
    assert "231 groups of 128" in line and "--pipeline-parallel-size 2" in line
    line = refusal(2, plan("InternVL3-8B", devices=(3,)))
    assert "GPU 3" in line and "the GPUs here are 0, 1" in line and "--policy-args" in line


def refusal(count: int, *engines: EnginePlan) -> str:
    """Return the line that refuses these engines on GPUs of 80 GB."""
    with pytest.raises(StartupError) as error:
        memory_shares(gpus(count), engines)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_each_proposal_of_a_refusal_fits():
    """Whoever follows the line for a GPU of 48 GB gets a start."""
    small = gpus(8, 46068 * 2**20)
    with pytest.raises(StartupError) as refusal:
        memory_shares(small, [plan("InternVL3-8B"), visual_prm()])
    line = str(refusal.value)
    [window] = map(int, re.findall(r"--max-model-len (\d+)", line))
    assert "--device-ids N" in line and f"--critic-args '{TENSOR} 2'" in line
    memory_shares(small, [plan("InternVL3-8B"), visual_prm(devices=(1,))])
    memory_shares(small, [plan("InternVL3-8B"), visual_prm(devices=(0, 1), tensor_parallel=2)])
    memory_shares(small, [plan("InternVL3-8B", window=window), visual_prm(window=window)])
    with pytest.raises(StartupError):  # it is the largest of these steps
        memory_shares(small, [plan("InternVL3-8B", window=window + 4096), visual_prm(window=window + 4096)])


def test_a_larger_gpu_never_refuses_what_a_smaller_one_takes():
    for name, critic in product(("InternVL3-1B", "InternVL3-8B", "InternVL3-14B"), (True, False)):
        engines = [plan(name), *([visual_prm()] if critic else [])]
        fits = []
        for gigabytes in (16, 24, 40, 48, 80, 141):
            try:
                memory_shares(gpus(1, gigabytes * GIB), engines)
            except StartupError:
                fits.append(False)
            else:
                fits.append(True)
        assert fits == sorted(fits) and fits[-1]


def test_the_table_in_the_docs_is_the_one_that_the_functions_make():
    assert "\n".join([f"<!-- {BLOCK} -->", *lines(), f"<!-- end of {BLOCK} -->"]) in PAGE.read_text()
