"""The fields of a request that loads or unloads a LoRA adapter. The names are vLLM's."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from server.errors import field_error
from server.setting_groups.adapters import is_adapter_name

F = TypeVar("F", bound=BaseModel)


class LoadAdapter(BaseModel):
    """The adapter's name in requests, and its folder in that of `--adapter-folder`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    lora_name: str
    lora_path: str = Field(min_length=1, max_length=4096)
    load_inplace: bool = False
    is_3d_lora_weight: bool = False

    @field_validator("lora_name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not is_adapter_name(name):
            raise ValueError(
                "lora_name must have 1 to 100 characters without spaces and `=`, and may not end in :bo and "
                "a number"
            )
        return name

    @field_validator("load_inplace", "is_3d_lora_weight")
    @classmethod
    def _is_not_asked_for(cls, value: bool) -> bool:
        if value:
            raise ValueError("this server can't do it. Leave it out; to replace an adapter, unload it first")
        return value


class UnloadAdapter(BaseModel):
    """The adapter's name. vLLM's `lora_int_id` has no effect, there as here."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    lora_name: str
    lora_int_id: int | None = None


def parse_adapter_fields(fields: type[F], body: Mapping[str, Any]) -> F:
    """Return the fields of a body. Raises ApiError for a wrong one."""
    try:
        return fields.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from None
