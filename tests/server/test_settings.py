"""The settings have checked values, and defaults that serve the embedded checkpoints."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from server.settings import Settings, default_text, settings_groups


def test_defaults_serve_the_embedded_checkpoints():
    settings = Settings()
    assert settings.served_name == "nano" and settings.critic_name == "nano-critic"
    assert settings.policy_path.endswith("model/nano/policy")
    assert settings.critic_path is not None and settings.critic_path.endswith("model/nano/critic")
    assert settings.host == "127.0.0.1"


def test_another_policy_has_no_critic_unless_given_one():
    settings = Settings(policy="/models/InternVL3-8B")
    assert settings.critic_path is None and settings.served_name == "InternVL3-8B"
    with_critic = Settings(policy="/models/InternVL3-8B", critic="/models/VisualPRM-8B")
    assert with_critic.critic_path == "/models/VisualPRM-8B" and with_critic.critic_name == "VisualPRM-8B"
    assert Settings(critic="none").critic_path is None
    assert Settings(policy="/models/x", critic="nano").critic_name == "nano-critic"


def test_a_variable_sets_a_field_and_an_argument_wins(monkeypatch):
    monkeypatch.setenv("INTERNVL3_PORT", "9000")
    monkeypatch.setenv("INTERNVL3_PRIVATE_MEDIA_HOSTS", "images.internal, 10.0.0.0/8")
    settings = Settings()
    assert settings.port == 9000
    assert settings.private_media_hosts == ("images.internal", "10.0.0.0/8")
    assert [host.network for host in settings.private_hosts] == [None, ip_network("10.0.0.0/8")]
    assert Settings(port=1).port == 1


@pytest.mark.parametrize("bad", [{"port": 70_000}, {"max_best_of": 0}, {"log_level": "loud"}, {"unknown": 1}])
def test_wrong_values_are_refused(bad):
    with pytest.raises(ValidationError):
        Settings(**bad)


def test_a_system_message_can_be_switched_off():
    assert Settings().system_message is None
    assert Settings(system_message="none").system_message == "" == Settings(system_message="").system_message
    assert Settings(system_message="Be brief.").system_message == "Be brief."


def test_defaults_are_shown_as_a_user_types_them():
    assert default_text("media_ports") == "80,443"
    assert default_text("critic_seconds") == "120" and default_text("kv_cache_gib") == "1"
    assert default_text("trust_special_tokens") == default_text("name") == default_text("allowed_hosts") == ""
    for name in Settings.model_fields:
        if text := default_text(name):
            chosen: dict[str, Any] = {name: text}
            assert getattr(Settings(**chosen), name) == getattr(Settings(), name)


def test_every_setting_belongs_to_one_group():
    names = [name for group in settings_groups() for name in group.model_fields]
    assert sorted(names) == sorted(Settings.model_fields)
    assert len({group.title for group in settings_groups()}) == len(settings_groups())


def test_the_embedded_checkpoints_lie_in_the_package_model():
    assert Path(Settings().policy_path).parent.parent.name == "model"


def test_adapters_have_names_and_folders(monkeypatch):
    monkeypatch.setenv("INTERNVL3_ADAPTERS", "reports=/adapters/r, apps=/adapters/a=b")
    named = Settings()
    assert named.adapter_folders == {"reports": Path("/adapters/r"), "apps": Path("/adapters/a=b")}
    for wrong in ("reports", "=folder", "a=", "a:bo8=folder", "a=x,a=y"):
        monkeypatch.setenv("INTERNVL3_ADAPTERS", wrong)
        with pytest.raises(ValidationError, match="adapters"):
            Settings()
