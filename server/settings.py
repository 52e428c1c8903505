"""The server's settings: flags of `internvl3 serve`, variables, keys of a file, and their defaults.

Each group has a file in `setting_groups`, and this file names the groups in the order of `--help`. A flag
wins over its variable, a variable over the file, and the file over the default: see `setting_sources.py`.
"""

from .setting_groups.adapters import AdapterSettings
from .setting_groups.admission import AdmissionSettings
from .setting_groups.files import FileSettings
from .setting_groups.group import SettingsGroup
from .setting_groups.keys import KeySettings
from .setting_groups.life_cycle import LifeCycleSettings
from .setting_groups.limits import LimitSettings
from .setting_groups.media import MediaSettings
from .setting_groups.models import ModelSettings
from .setting_groups.observability import ObservabilitySettings
from .setting_groups.scaling import ScalingSettings
from .setting_groups.serving import ServingSettings


class Settings(
    ServingSettings,
    KeySettings,
    ModelSettings,
    AdapterSettings,
    ScalingSettings,
    LimitSettings,
    AdmissionSettings,
    MediaSettings,
    FileSettings,
    LifeCycleSettings,
    ObservabilitySettings,
):
    """All settings of one server. Raises pydantic's ValidationError for a value out of its range."""


def settings_groups() -> list[type[SettingsGroup]]:
    """Return the groups of the settings, in the order in which they are shown."""
    return [group for group in Settings.__bases__ if issubclass(group, SettingsGroup)]


def default_text(field: str) -> str:
    """Return a setting's default as a user types it; empty if it has none, or is a switch that is off."""
    default = Settings.model_fields[field].get_default()
    if default is None or default is False:
        return ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
