"""Load and unload LoRA adapters while the server runs, for an admin key alone."""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.access.principal import Principal
from server.engine_interface import PolicyEngine
from server.errors import ApiError, adapter_not_found
from server.protocol.adapter_fields import LoadAdapter, UnloadAdapter, parse_adapter_fields
from server.settings import Settings

logger = logging.getLogger("internvl3.server")


async def load(
    settings: Settings, engine: PolicyEngine, principal: Principal, body: Mapping[str, Any]
) -> str:
    """Load the adapter that a body names, and return the sentence that vLLM's server returns then.

    Raises ApiError: 403 for a key without `admin`, 404 if the server loads none or there is no such folder,
    400 if the adapter can't be used or its name is taken.
    """
    _check_admin(principal)
    if settings.adapter_folder is None:
        raise ApiError(
            "This server loads no adapters while it runs. Its operator can start it with --adapter-folder "
            "FOLDER.",
            status=404,
            code="no_adapter_folder",
        )
    fields = parse_adapter_fields(LoadAdapter, body)
    if fields.lora_name == settings.served_name:
        raise ApiError(
            f"lora_name: `{fields.lora_name}` is the name of the policy. Choose another one.",
            param="lora_name",
            code="adapter_exists",
        )
    folder = await asyncio.to_thread(_subfolder, settings.adapter_folder, fields.lora_path)
    await engine.load_adapter(fields.lora_name, folder)
    logger.info("key %s has loaded the adapter %s from %s", principal.name, fields.lora_name, folder)
    return f"Success: LoRA adapter '{fields.lora_name}' added successfully."


async def unload(engine: PolicyEngine, principal: Principal, body: Mapping[str, Any]) -> str:
    """Unload the adapter that a body names, and return the sentence that vLLM's server returns then.

    Raises ApiError: 403 for a key without `admin`, 404 if there is no such adapter.
    """
    _check_admin(principal)
    name = parse_adapter_fields(UnloadAdapter, body).lora_name
    await engine.unload_adapter(name)
    logger.info("key %s has unloaded the adapter %s", principal.name, name)
    return f"Success: LoRA adapter '{name}' removed successfully."


def _check_admin(principal: Principal) -> None:
    if not principal.is_admin:
        raise ApiError(
            "This needs an API key with `admin = true` in the server's file of keys. Send such a key, or ask "
            "the operator.",
            status=403,
            code="admin_key_required",
        )


def _subfolder(root: Path, path: str) -> Path:
    """Return the folder that a client names, with links followed.

    Raises ApiError (404) if it isn't in `root`. Whether something lies elsewhere is told to nobody.
    """
    try:
        folder = Path(os.path.realpath(root / path))
        is_inside = folder.is_relative_to(os.path.realpath(root)) and folder.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        is_inside = False
    if not is_inside:
        raise adapter_not_found(
            "lora_path: there is no such folder in the server's --adapter-folder. Name one that is in it.",
            param="lora_path",
        )
    return folder
