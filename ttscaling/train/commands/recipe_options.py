"""One option for each field of a recipe, and a recipe with the fields that the options replace.

The options have no default here, because an option that isn't given keeps the published value for `--size`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from ttscaling.train.settings.recipe import Recipe


def with_overrides(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields replaced. `steps` alone removes `epochs`, and the reverse.

    With `lora_rank` the parts are the language model alone, unless others are named.

    Raises:
        ValueError: a setting is out of range, or both `steps` and `epochs` are given.
    """
    fields = dict(overrides)
    if "steps" in fields:
        fields.setdefault("epochs", None)
    elif "epochs" in fields:
        fields["steps"] = None
    if fields.get("lora_rank") is not None:
        fields.setdefault("parts", ("language",))
    return replace(recipe, **fields)


def recipe_options() -> Mapping[str, Any]:
    """Return the annotation of each field of a recipe as an option of typer without a default."""
    options = {}
    for name, hint in get_type_hints(Recipe, include_extras=True).items():
        field_type, text = get_args(hint)
        option = typer.Option(help=text, rich_help_panel="Recipe")
        options[name] = Annotated[_option_type(field_type) | None, option]
    return options


def _option_type(field_type: Any) -> Any:
    """Return the option's type, which is text for a list."""
    return str if get_origin(field_type) is tuple else field_type


def field_value(name: str, value: Any) -> Any:
    """Return an option's value as the field of a recipe, which splits lists at their commas."""
    if name == "parts":
        return tuple(part.strip() for part in value.split(","))
    return _deltas(value.split(",")) if name == "deltas" else value


def _deltas(texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(Fraction(text.strip())) for text in texts)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(
            f"the deltas can't be read ({error}): write numbers or fractions with commas, like 1,1/4,0.0625"
        ) from error
