"""Check on a GPU what bf16 must not round, and the attention kernel for variable lengths."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from ttscaling.train.network.attention import attention_in_segments, segments_of
from ttscaling.train.objectives.losses import scaled_loss
from ttscaling.train.run.sharding import prepared

from .models import Size, config_of, random_micro, random_model, recipe_of, task_of
from .sharding import accelerator_of_one_process

Figures = dict[str, Any]


def positions(device: str, size: Size, tokens: int, tiles: int) -> Figures:
    """Return what the language model gets of a pack when FSDP2 shards it in bf16 over one device."""
    accelerator = accelerator_of_one_process(device)
    config = config_of(size)
    model, task = random_model(config), task_of(config, recipe_of(tokens=tokens, tiles=tiles))
    tensors: dict[str, torch.Tensor] = {}
    language = model.model.language_model

    def record(module: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        tensors["positions"] = keywords["position_ids"]

    def record_query(module: Any, arguments: Any, output: torch.Tensor) -> None:
        tensors["queries"] = output

    language.register_forward_pre_hook(record, with_kwargs=True)
    language.layers[0].self_attn.q_proj.register_forward_hook(record_query)
    module, _ = prepared(model, task, accelerator)
    micro = random_micro(config, tokens=tokens, tiles=tiles, seed=1)
    loss, _ = module(task.objective.loss, micro)
    accelerator.backward(scaled_loss(loss, torch.tensor(micro.weight), num_processes=1))
    given_1T, seen_1T = micro.batch.pos_1T, tensors["positions"].cpu()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return {
        "passed": seen_1T.dtype == loss.dtype == torch.float32
        and torch.equal(seen_1T, given_1T)
        and tensors["queries"].dtype == torch.bfloat16
        and all(gradient.dtype == torch.float32 for gradient in gradients),
        "largest_position": float(given_1T.max()),
        "type_of_positions": str(seen_1T.dtype),
        "type_of_loss": str(loss.dtype),
        "largest_error": float((seen_1T.double() - given_1T.double()).abs().max()),
        "loss_per_token": float(loss) / micro.weight,
    }


class _Operations(TorchDispatchMode):
    """A mode that records the names of the operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def attention(device: str, size: Size, tokens: int, tiles: int) -> Figures:
    """Compare attention within segments in bf16 with the dense mask in float32, forwards and backwards.

    The pack has plain sequences and a trunk with two branches. Queries and keys are float32, as autocast
    makes them.
    """
    text = config_of(size).text_config
    heads, key_heads = text.num_attention_heads, text.num_key_value_heads
    channels = text.hidden_size // heads
    tokens = min(tokens, 4096)  # The dense mask and its weights take the square of this.
    sequence_T, branch_T = _pack(tokens)
    segments = segments_of(sequence_T, branch_T).to(torch.device(device))
    mask_TT = _visible(sequence_T, branch_T).to(device)
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(1, count, tokens, channels, generator=generator).bfloat16().to(device)
        for count in (heads, key_heads, key_heads)
    ]
    weight_1THC = torch.randn(1, tokens, heads, channels, generator=generator).to(device)
    operations = _Operations()

    def ours(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        attended, _ = attention_in_segments(
            torch.nn.Module(), query.float(), key.float(), value, None, segments=segments
        )
        return attended

    def dense(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask_TT, enable_gqa=heads != key_heads
        ).transpose(1, 2)

    with operations:
        own = _with_gradients(ours, inputs, weight_1THC)
    exact = _with_gradients(dense, [x.float() for x in inputs], weight_1THC)
    errors = [_relative_error(a, b) for a, b in zip(own, exact, strict=True)]
    by_varlen = any("varlen" in name for name in operations.names)
    return {
        "passed": max(errors) < 0.02 and by_varlen == (device == "cuda"),
        "kernel": "varlen" if by_varlen else "one segment at a time",
        **dict(zip(("output_error", "query_error", "key_error", "value_error"), errors, strict=True)),
    }


def _pack(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sequence and branch of each token: a sequence, a trunk with two branches, and a sequence."""
    quarter = tokens // 4
    lengths = [quarter, quarter, quarter // 2, quarter - quarter // 2, tokens - 3 * quarter]
    sequences, branches = (0, 1, 1, 1, 2), (0, 0, 1, 2, 0)
    length_S = torch.tensor(lengths)
    return (
        torch.tensor(sequences).repeat_interleave(length_S),
        torch.tensor(branches).repeat_interleave(length_S),
    )


def _visible(sequence_T: torch.Tensor, branch_T: torch.Tensor) -> torch.Tensor:
    same_TT = sequence_T[:, None] == sequence_T
    open_TT = (branch_T == 0) | (branch_T[:, None] == branch_T)
    return (same_TT & open_TT).tril()


def _with_gradients(
    attend: Callable[..., torch.Tensor], inputs: list[torch.Tensor], weight_1THC: torch.Tensor
) -> list[torch.Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    attended = attend(*leaves)
    (attended.float() * weight_1THC).sum().backward()
    return [attended.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def _relative_error(own: torch.Tensor, exact: torch.Tensor) -> float:
    return float((own.double() - exact.double()).norm() / exact.double().norm())
