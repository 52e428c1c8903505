"""What all groups of settings share: where a value comes from, and lists that are written with commas."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

VARIABLES = "INTERNVL3_"  # what the name of every variable begins with


def split_at_commas(value: Any) -> Any:
    """Return the parts of a text that holds several values; other values are returned as they are."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_at_commas)]


class SettingsGroup(BaseSettings):
    """One group of settings; `title` is its heading in `--help` and in docs/settings.md.

    The field `max_tiles` is the flag --max-tiles, the variable INTERNVL3_MAX_TILES and the key `max_tiles` of
    a file, and its description is the flag's help text.
    """

    model_config = SettingsConfigDict(env_prefix=VARIABLES, frozen=True, extra="forbid")

    title: ClassVar[str]
