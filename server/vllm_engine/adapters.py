"""vLLM's flags for the LoRA adapters that the operator names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from vllm.config.lora import MaxLoRARanks

from server.errors import StartupError

RANKS = sorted(get_args(MaxLoRARanks))


def adapter_flags(folders: Mapping[str, Path], *, cpu: bool) -> list[str]:
    """Return the flags of `vllm serve` that load these adapters under their names; none for no adapter.

    All of them have a slot, so none is loaded again and again. On a CPU there is one slot more, because
    vLLM's kernels give a request without an adapter the weights of the last slot
    (`vllm/lora/ops/torch_ops/lora_ops.py`).

    Raises:
        StartupError: a folder holds no LoRA adapter, or one of a rank that vLLM doesn't know.
    """
    if not folders:
        return []
    rank = max(adapter_rank(folder) for folder in folders.values())
    fitting = [known for known in RANKS if known >= rank]
    if not fitting:
        raise StartupError(f"--adapters: an adapter has the rank {rank}, and vLLM allows {RANKS[-1]} at most")
    modules = [f"{name}={folder}" for name, folder in folders.items()]
    slots = len(folders) + (1 if cpu else 0)
    sizes = ["--max-loras", str(slots), "--max-lora-rank", str(fitting[0])]
    return ["--enable-lora", *sizes, "--lora-modules", *modules]


def adapter_rank(folder: Path) -> int:
    """Return the rank of a LoRA adapter in peft's format. Raises StartupError if there is none."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        rank = config["r"] if config["peft_type"] == "LORA" else None
    except OSError as error:
        raise StartupError(f"--adapters: {folder} holds no adapter_config.json: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        rank = None
    if not isinstance(rank, int) or rank < 1:
        raise StartupError(f"--adapters: {folder / 'adapter_config.json'} describes no LoRA adapter of peft")
    return rank
