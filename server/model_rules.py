"""The rules for the settings of policy and critic, before any of them starts."""

from urllib.parse import urlsplit

from .errors import StartupError
from .settings import Settings


def check_models(settings: Settings) -> None:
    """Raise StartupError if policy and critic contradict each other, or if a setting would have no effect."""
    without_effect = {}
    if not settings.has_policy:
        if settings.critic_url is not None:
            raise StartupError("--policy none serves a critic of its own: leave --critic-url out")
        if settings.critic_path is None:
            raise StartupError("--policy none serves a critic alone: name its checkpoint with --critic")
        without_effect = dict.fromkeys(
            ("adapters", "adapter_folder", "policy_args", "name", "system_message"), "with --policy none"
        )
    if settings.critic_url is not None:
        if settings.critic is not None:
            raise StartupError("--critic and --critic-url exclude each other: give one of them")
        without_effect = dict.fromkeys(("critic_args", "critic_system_message"), "with --critic-url")
    elif settings.critic_key is not None:
        without_effect |= {"critic_key": "without --critic-url"}
    if settings.adapter_folder is None:
        without_effect |= dict.fromkeys(("max_adapters", "max_adapter_rank"), "without --adapter-folder")
    for name, cause in without_effect.items():
        if getattr(settings, name) != type(settings).model_fields[name].get_default():
            flag = name.replace("_", "-")
            raise StartupError(f"--{flag} has no effect {cause}: leave it out")


def engine_titles(settings: Settings) -> list[str]:
    """Return which engines run in this server: its policy, its critic, or both."""
    titles = ["policy"] if settings.has_policy else []
    return [*titles, "critic"] if settings.critic_path is not None else titles


def models_text(settings: Settings) -> str:
    """Return the models of a server for its log."""
    if not settings.has_policy:
        return f"critic {settings.critic_name}, without a policy"
    if settings.critic_url is not None:
        return f"{settings.served_name} with the critic of {urlsplit(settings.critic_url).netloc}"
    if settings.critic_path is None:
        return f"{settings.served_name}, without a critic"
    return f"{settings.served_name} with critic {settings.critic_name}"
