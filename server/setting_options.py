"""The options of `internvl3 serve`, one for each setting, made from the declaration of the settings."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from .setting_groups.group import VARIABLES
from .settings import Settings, default_text, settings_groups

TYPED = (bool, int, float, str, Path)  # what typer reads; all else is a text, which the settings read


def with_options_of_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a function one option for each setting, in place of its `**options`.

    typer doesn't apply the default: an option that isn't given is None, and the settings decide.
    """
    signature = inspect.signature(command)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    of_settings = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_option_type(name) | None, _option(name, group.title)],
        )
        for group in settings_groups()
        for name in group.model_fields
    ]
    command.__signature__ = signature.replace(parameters=[*own, *of_settings])  # type: ignore[attr-defined]
    return command


def _option(name: str, panel: str) -> Any:
    """Return the option of one setting, whose help names the setting's default and its variable."""
    default = default_text(name)
    text = f"{Settings.model_fields[name].description} ({VARIABLES}{name.upper()})"
    return typer.Option(
        help=f"{text} Default: {default}" if default else text, show_default=False, rich_help_panel=panel
    )


def _option_type(name: str) -> Any:
    """Return the type of a setting's option: the setting's own without None, or str."""
    annotation: Any = Settings.model_fields[name].annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation if annotation in TYPED or get_origin(annotation) is Literal else str
