"""Read the settings from flags, variables and a YAML file, and write them as such a file.

A flag wins over its variable, a variable over the file, and the file over the default.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from .errors import StartupError
from .setting_groups.group import VARIABLES
from .settings import Settings, settings_groups

CONFIG = "config"  # the flag and the variable that name the file; it is no key of the file


def read_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Return the settings of a server.

    Args:
        flags: the values of the flags that were given, by the names of their settings.
        config: the YAML file, if there is one.

    Raises:
        StartupError: the file can't be used, or a value is out of its range. The message is one line that
            names the flag, the variable or the key of the file.
    """
    from_file = {} if config is None else read_settings_file(config)
    from_variables = EnvSettingsSource(Settings)()
    try:
        return Settings(**{**from_file, **from_variables, **flags})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # several settings don't fit together
            raise StartupError(message) from None
        name = str(first["loc"][0])
        if name in flags:
            where = flag_of(name)
        elif name in from_variables:
            where = VARIABLES + name.upper()
        else:
            where = f"{config}: {name}"
        raise StartupError(f"{where}: {message}") from None


def read_settings_file(path: Path) -> Mapping[str, Any]:
    """Return the values of a settings file by the names of the settings, whose hyphens may be underscores.

    Raises StartupError, whose message is one line, if it is no YAML file, or has a key that is no setting.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node, content = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except OSError as error:
        raise StartupError(f"can't read the settings in {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # no YAML, or no UTF-8
        reason = " ".join(str(error).split())
        raise StartupError(f"the settings in {path} are no YAML file: {reason}") from None
    if node is None:  # the file is empty
        return {}
    if not isinstance(content, dict):
        raise StartupError(f"the settings in {path} are no mapping; write one `name: value` in each line")
    values: dict[str, Any] = {}
    for key, _ in node.value:  # the node has every key, also one that is written twice
        name = str(key.value).replace("-", "_")
        if name not in Settings.model_fields:
            raise StartupError(f"{path}: {key.value} is no setting{_nearest(name, Settings.model_fields)}")
        if name in values:
            raise StartupError(f"{path}: {name} is written twice; remove one")
        values[name] = content.get(key.value)
    return values


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return one line for each variable that looks like a setting and is none.

    Most of them hold a typing error.
    They don't end the start, because Kubernetes sets such variables for a service that is called internvl3.
    """
    known = {*Settings.model_fields, CONFIG}
    names = {name: name.removeprefix(VARIABLES).lower() for name in environment if name.startswith(VARIABLES)}
    return [
        f"the variable {name} is no setting{_nearest(short, known, VARIABLES)}"
        for name, short in sorted(names.items())
        if short not in known
    ]


def settings_text(settings: Settings) -> str:
    """Return all settings as YAML that `--config` reads. A comment stands in the place of each secret."""
    lines: list[str] = []
    values = settings.model_dump(mode="json")
    for group in settings_groups():
        lines.append(f"# {group.title}")
        for name in group.model_fields:
            if isinstance(getattr(settings, name), SecretStr):
                lines.append(f"# {name} is set, but it is a secret: set {VARIABLES}{name.upper()}")
            else:
                pair = yaml.safe_dump({name: values[name]}, allow_unicode=True, width=float("inf"))
                lines.append(pair.rstrip("\n"))
    return "\n".join(lines) + "\n"


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    nearest = get_close_matches(name, known, n=1)
    if not nearest:
        return "; docs/settings.md lists all of them"
    return f"; did you mean {prefix + nearest[0].upper() if prefix else nearest[0]}?"
