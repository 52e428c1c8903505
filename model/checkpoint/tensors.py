"""Convert tensors between the layouts of InternVL checkpoints: rename, fuse and split them.

The names are translated by `model.checkpoint.tensor_names`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from .tensor_names import opengvlab_name, transformers_name

_SPLIT_QKV = re.compile(r"(vision_model\.encoder\.layers\.\d+\.attn\.)([qkv])_proj\.(weight|bias)")
_FUSED_QKV = re.compile(r"(vision_model\.encoder\.layers\.\d+\.attn\.)qkv\.(weight|bias)")
_WQKV = re.compile(r"(language_model\.model\.layers\.\d+\.self_attn\.)wqkv\.(\w+)")


def fuse_qkv(
    tensors: Iterable[tuple[str, torch.Tensor]], waiting: dict[str, dict[str, torch.Tensor]] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield tensors with OpenGVLab's names, with the vision tower's q, k and v joined to one.

    Only parts that wait for the others of their layer are kept in memory, so a checkpoint streams through
    shard by shard.

    Args:
        tensors: names in OpenGVLab's layout, and tensors.
        waiting: parts that earlier calls left behind. This call adds its own, and nothing is raised.

    Raises:
        ValueError: a layer lacks its q, k or v; the message names the tensors that are missing.
    """
    is_complete = waiting is None
    waiting = {} if waiting is None else waiting
    for name, tensor in tensors:
        match = _SPLIT_QKV.fullmatch(name)
        if match is None:
            yield name, tensor
            continue
        layer, part, kind = match.groups()
        fused_name = f"{layer}qkv.{kind}"
        parts = waiting.setdefault(fused_name, {})
        parts[part] = tensor
        if len(parts) == 3:
            del waiting[fused_name]
            yield fused_name, torch.cat([parts[p] for p in "qkv"], dim=0)
    if waiting and is_complete:
        missing = [
            transformers_name(fused.replace("qkv", f"{part}_proj")).removeprefix("model.")
            for fused, parts in sorted(waiting.items())
            for part in "qkv"
            if part not in parts
        ]
        raise ValueError(f"the checkpoint lacks {', '.join(missing)}")


def split_wqkv(
    tensors: Iterable[tuple[str, torch.Tensor]], *, num_heads: int, num_kv_heads: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield tensors with InternLM2's `wqkv` split into q, k and v.

    The rows of `wqkv` form one group for each kv head: the query heads that share the kv head, then its k,
    then its v (OpenGVLab/InternVL `modeling_internlm2.py`, "(h gs d)").
    """
    for name, tensor in tensors:
        match = _WQKV.fullmatch(name)
        if match is None:
            yield name, tensor
            continue
        attention, kind = match.groups()
        for part, piece in zip("qkv", _grouped(tensor, kind, num_heads, num_kv_heads), strict=True):
            yield f"{attention}{part}_proj.{kind}", piece


def stream_to_opengvlab(
    tensors: Iterable[tuple[str, torch.Tensor]],
    text_config: Any,
    waiting: dict[str, dict[str, torch.Tensor]] | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a checkpoint as the engine's modules need them. Raises as `fuse_qkv` does.

    Args:
        tensors: names and tensors, in any layout and any order.
        text_config: transformers' config of the language model, for its numbers of heads.
        waiting: as in `fuse_qkv`.
    """
    renamed = ((opengvlab_name(name), tensor) for name, tensor in tensors)
    return split_wqkv(
        fuse_qkv(renamed, waiting),
        num_heads=text_config.num_attention_heads,
        num_kv_heads=text_config.num_key_value_heads,
    )


def to_opengvlab(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict of transformers in the OpenGVLab layout. Raises as `fuse_qkv` does."""
    return dict(fuse_qkv((opengvlab_name(name), tensor) for name, tensor in state_dict.items()))


def to_transformers(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict of the OpenGVLab layout for `InternVLForConditionalGeneration.load_state_dict`.

    Raises:
        ValueError: no InternVL checkpoint has a tensor of one of the names.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        match = _FUSED_QKV.fullmatch(name)
        if match is None:
            renamed[transformers_name(name)] = tensor
            continue
        layer, kind = match.groups()
        for part, piece in zip("qkv", tensor.chunk(3, dim=0), strict=True):
            renamed[transformers_name(f"{layer}{part}_proj.{kind}")] = piece.clone()
    return renamed


def _grouped(
    tensor: torch.Tensor, kind: str, num_heads: int, num_kv_heads: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return q, k and v of one `wqkv` tensor; `kind` is weight, bias, or a tensor of a quantised layer."""
    # A single scale and the order of the inputs (g_idx) hold for q, k and v alike.
    if tensor.numel() == 1 or kind == "g_idx":
        return tensor, tensor, tensor
    outputs = 1 if kind in ("qweight", "qzeros", "scales") else 0  # In AWQ and GPTQ the inputs come first.
    queries = num_heads // num_kv_heads
    groups = tensor.unflatten(outputs, (num_kv_heads, queries + 2, -1))
    q, k, v = groups.split([queries, 1, 1], dim=outputs + 1)
    return q.flatten(outputs, outputs + 2), k.flatten(outputs, outputs + 2), v.flatten(outputs, outputs + 2)
