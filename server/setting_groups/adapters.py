"""The settings of the policy's LoRA adapters."""

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from .group import SettingsGroup, Texts
from .models import ALIAS

NAME = re.compile(r"[^=\s]{1,100}")


class AdapterSettings(SettingsGroup):
    """The adapters that the policy has from the beginning, and room for those that come later."""

    title = "Adapters"

    adapters: Texts = Field(
        default=(),
        description="Adapters (LoRA) of the policy, as NAME=FOLDER, separated by commas. A request gets one "
        "by its name as the model.",
    )
    adapter_folder: Path | None = Field(
        default=None,
        description="Folder in whose subfolders an admin key finds adapters to load while the server runs. "
        "Without it none can be loaded.",
    )
    max_adapters: int = Field(
        default=4,
        ge=1,
        description="Most adapters at the same time with --adapter-folder, those of --adapters included; "
        "the memory for all of them is taken at the start.",
    )
    max_adapter_rank: int = Field(
        default=16,
        ge=1,
        le=512,
        description="Highest rank of an adapter that is loaded from --adapter-folder.",
    )

    @field_validator("adapters")
    @classmethod
    def _adapters(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        names = [entry.partition("=")[0] for entry in entries]
        for entry, name in zip(entries, names, strict=True):
            if "=" not in entry or entry.endswith("=") or not is_adapter_name(name):
                raise ValueError(
                    f"{entry} is not of the form NAME=FOLDER; NAME may not end in :bo and a number"
                )
        if len(set(names)) < len(names):
            raise ValueError("two adapters have the same name; rename one")
        return entries

    @property
    def adapter_folders(self) -> Mapping[str, Path]:
        """The folders of the adapters that the policy has from the beginning, by their names in requests."""
        pairs = (entry.partition("=") for entry in self.adapters)
        return {name: Path(folder) for name, _, folder in pairs}

    @property
    def adapter_places(self) -> int:
        """How many adapters the policy can have at the same time."""
        return max(len(self.adapters), 0 if self.adapter_folder is None else self.max_adapters)


def is_adapter_name(name: str) -> bool:
    """Return whether an adapter may have a name: 1 to 100 characters without spaces and `=`, and no alias."""
    return NAME.fullmatch(name) is not None and ALIAS.fullmatch(name) is None
