"""vLLM's flags for the LoRA adapters that the policy has, or may get."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from vllm.config.lora import MaxLoRARanks

from server.errors import StartupError
from server.settings import Settings

RANKS = sorted(get_args(MaxLoRARanks))


@dataclass(frozen=True, kw_only=True)
class AdapterRoom:
    """The adapters of an engine at its start, and the room for others."""

    folders: Mapping[str, Path] = field(default_factory=dict)  # by the adapters' names
    places: int = 0  # the most adapters at the same time, those of `folders` included
    rank: int = 1  # the highest rank of an adapter that is loaded later


class AdapterError(Exception):
    """A folder holds no adapter that can be used. The message goes on after the folder's name."""


def adapter_room(settings: Settings) -> AdapterRoom:
    """Return the room for adapters that the settings ask for."""
    return AdapterRoom(
        folders=settings.adapter_folders,
        places=settings.adapter_places,
        rank=1 if settings.adapter_folder is None else settings.max_adapter_rank,
    )


def adapter_flags(room: AdapterRoom, *, cpu: bool) -> list[str]:
    """Return the flags of `vllm serve` for this room and its first adapters; none if there is no room.

    Each adapter has a slot, so none is loaded again and again. On a CPU there is one slot more, because
    vLLM's kernels give a request without an adapter the weights of the last slot
    (`vllm/lora/ops/torch_ops/lora_ops.py`).

    Raises:
        StartupError: a folder holds no LoRA adapter, or one of a rank that vLLM doesn't know.
    """
    if not room.places:
        return []
    rank = max([room.rank, *map(_rank_at_start, room.folders.values())])
    fitting = [known for known in RANKS if known >= rank]
    if not fitting:
        raise StartupError(f"--adapters: an adapter has the rank {rank}, and vLLM allows {RANKS[-1]} at most")
    slots = room.places + (1 if cpu else 0)
    flags = ["--enable-lora", "--max-loras", str(slots), "--max-lora-rank", str(fitting[0])]
    modules = [f"{name}={folder}" for name, folder in room.folders.items()]
    return [*flags, "--lora-modules", *modules] if modules else flags


def adapter_rank(folder: Path) -> int:
    """Return the rank of a LoRA adapter in peft's format. Raises AdapterError if there is none."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        rank = config["r"] if config["peft_type"] == "LORA" else None
    except OSError as error:
        raise AdapterError(f"holds no adapter_config.json: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        rank = None
    if not isinstance(rank, int) or rank < 1:
        raise AdapterError("holds an adapter_config.json that describes no LoRA adapter of peft")
    return rank


def _rank_at_start(folder: Path) -> int:
    try:
        return adapter_rank(folder)
    except AdapterError as error:
        raise StartupError(f"--adapters: {folder} {error}") from None
