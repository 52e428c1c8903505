"""Engines of published sizes on GPUs, and the table of them in docs/deployment.md.

`python -m tests.server.vllm_engine.memory.plans` writes the table into the page.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from model.checkpoint.config import InternVLChatConfig
from model.checkpoint.parameters import PartSizes, weight_bytes
from server.errors import StartupError
from server.vllm_engine.memory.need import GIB, EnginePlan, memory_need
from server.vllm_engine.memory.shares import memory_shares
from tests.model.sizes import SIZES, config_json
from ttscaling.reports.markdown import table, write_block

PAGE = Path(__file__).parents[4] / "docs" / "deployment.md"
BLOCK = "memory of published sizes"
GPU_80_GB = 81559 * 2**20
"""What the driver says of an NVIDIA GPU that is sold with 80 GB."""
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
TENSOR, PIPELINE = "--tensor-parallel-size", "--pipeline-parallel-size"


@cache
def _checkpoint(name: str) -> tuple[InternVLChatConfig, PartSizes]:
    size = next(size for size in SIZES if size.name == name.removesuffix("-AWQ"))
    content = config_json(size, "opengvlab")
    if name.endswith("-AWQ"):
        content["llm_config"]["quantization_config"] = AWQ
    config = InternVLChatConfig.from_dict(content)
    return config, weight_bytes(config, width=2)


def plan(name: str, title: str = "policy", *flags: int | str, **changes: Any) -> EnginePlan:
    """Return an engine of a published size, whose name may end in -AWQ, on the first GPUs or on `devices`.

    `flags` are those that split it, like "--tensor-parallel-size", 2.
    """
    config, weights = _checkpoint(name)
    split = dict(zip(flags[::2], map(int, flags[1::2]), strict=True))
    ranks, stages = split.get(TENSOR, 1), split.get(PIPELINE, 1)
    settings = {
        "window": config.text_config.max_position_embeddings,
        "devices": tuple(range(ranks * stages)),
        "tensor_parallel": ranks,
        "pipeline_parallel": stages,
        **changes,
    }
    return EnginePlan(title=title, name=name, config=config, weights=weights, **settings)


def visual_prm(**changes: Any) -> EnginePlan:
    """Return the critic VisualPRM-8B, which has the dimensions of InternVL2.5-8B."""
    return replace(plan("InternVL2_5-8B", "critic", **changes), name="VisualPRM-8B")


def gpus(count: int, size: int = GPU_80_GB) -> dict[int, int]:
    """Return the memory of `count` equal GPUs."""
    return dict.fromkeys(range(count), size)


ROWS: Sequence[tuple[str, *tuple[str | int, ...]]] = (
    ("InternVL3-1B",),
    ("InternVL3-2B",),
    ("InternVL3-8B",),
    ("InternVL3-9B",),
    ("InternVL3-14B",),
    ("InternVL3-38B", TENSOR, 2),
    ("InternVL3-38B", TENSOR, 4),
    ("InternVL3-78B", TENSOR, 4),
    ("InternVL3-78B", TENSOR, 8),
    ("InternVL3-78B-AWQ",),
    ("InternVL3-78B-AWQ", PIPELINE, 2),
)


def rows() -> list[list[str]]:
    """Return the rows of the table: the need of each size, and the shares beside VisualPRM-8B on GPU 0."""
    lines = []
    for name, *flags in ROWS:
        policy = plan(name, "policy", *flags)
        need = memory_need(policy)
        sizes = [f"{size / GIB:.1f}" for size in (need.weights, need.cache, need.working, need.total)]
        try:
            shares = memory_shares(gpus(8), [policy, visual_prm()])
            beside = " / ".join(f"{share:.3f}" for share in shares)
        except StartupError:
            beside = "do not fit"
        split = f"{'tensor' if flags[0] == TENSOR else 'pipeline'} {flags[1]}" if flags else ""
        lines.append([name, split, *sizes, beside])
    return lines


def lines() -> list[str]:
    """Return the lines of the table."""
    header = ["policy", "parallelism", "weights", "key-value cache", "working memory", "sum"]
    return table([*header, "shares of policy / critic"], rows())


if __name__ == "__main__":
    write_block(PAGE, BLOCK, lines())
