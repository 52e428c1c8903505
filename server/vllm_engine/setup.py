"""Describe what an engine's answers or scores depend on, for `/v1/models`.

Whoever keeps results of a server compares these descriptions, so that the results of two checkpoints or of
two settings are never mixed (docs/decisions/0067). Long values stand there as digests, which can be compared
and tell strangers nothing.
"""

import hashlib
from typing import Any

from vllm.config import ModelConfig

from model.checkpoint.description import Checkpoint
from model.checkpoint.digest import checkpoint_digest
from model.checkpoint.repository import checkpoint_folder
from server.settings import Settings

from .engine_flags import EngineRole


def engine_setup(
    role: EngineRole,
    config: ModelConfig,
    checkpoint: Checkpoint,
    settings: Settings,
    template: str | None,
) -> dict[str, Any]:
    """Return the name, the checkpoint's digest and the settings of an engine, as JSON.

    `config` is vLLM's config of the running model. `template` is the chat template of the engine, or None for
    the tokenizer's own, which the checkpoint's digest covers. A checkpoint whose files can't be found has the
    digest of its name. This reads pieces of all weights, which takes seconds on a slow disk. Raises OSError
    if a file can't be read.
    """
    folder = checkpoint_folder(config.model, revision=config.revision, token=config.hf_token)
    return {
        "name": role.name,
        "checkpoint": _digest(str(config.model)) if folder is None else checkpoint_digest(folder),
        "dtype": str(config.dtype).removeprefix("torch."),
        "quantization": config.quantization,
        "max_model_len": config.max_model_len,
        "max_tiles": settings.max_tiles,
        "max_total_tiles": settings.max_total_tiles,
        "v2pe_delta": settings.critic_delta if role.judges else checkpoint.v2pe_delta,
        "sampling": {} if role.judges else config.get_diff_sampling_param(),
        "chat_template": _digest(template),
        "system_message": _digest(system_message(role, checkpoint, settings)),
        "flags": _digest(role.extra),
        "adapters": {name: checkpoint_digest(folder) for name, folder in role.adapters.folders.items()},
    }


def system_message(role: EngineRole, checkpoint: Checkpoint, settings: Settings) -> str | None:
    """Return the operator's system message for an engine, or the checkpoint's own."""
    chosen = settings.critic_system_message if role.judges else settings.system_message
    return checkpoint.system_message if chosen is None else chosen


def _digest(text: str | None) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else None
