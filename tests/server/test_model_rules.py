"""Settings of policy and critic that contradict each other, or that would have no effect, end the start."""

from typing import Any

import pytest
from pydantic import ValidationError

from server.errors import StartupError
from server.model_rules import check_models
from tests.server.apps import settings

URL = "http://critic.example:8000"


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"policy": "none"}, "name its checkpoint with --critic"),
        ({"policy": "none", "critic": "none"}, "name its checkpoint with --critic"),
        ({"policy": "none", "critic_url": URL}, "leave --critic-url out"),
        (
            {"policy": "none", "critic": "nano", "adapters": "a=b"},
            "--adapters has no effect with --policy none",
        ),
        ({"policy": "none", "critic": "nano", "policy_args": "-x"}, "--policy-args has no effect"),
        ({"policy": "none", "critic": "nano", "name": "x"}, "--name has no effect"),
        ({"critic": "nano", "critic_url": URL}, "exclude each other"),
        ({"critic": "none", "critic_url": URL}, "exclude each other"),
        ({"critic_args": "-x", "critic_url": URL}, "--critic-args has no effect with --critic-url"),
        ({"critic_system_message": "x", "critic_url": URL}, "--critic-system-message has no effect"),
        ({"critic_key": "x"}, "--critic-key has no effect"),
        ({"max_adapters": 2}, "--max-adapters has no effect without --adapter-folder"),
        ({"policy": "none", "critic": "nano", "adapter_folder": "/x"}, "--adapter-folder has no effect"),
    ],
)
def test_contradictions_are_refused(chosen: dict[str, Any], reason: str):
    with pytest.raises(StartupError, match=reason):
        check_models(settings(**chosen))


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"critic": "none"},
        {"policy": "none", "critic": "nano"},
        {"critic_url": URL, "critic_key": "x", "critic_delta": "request"},
    ],
)
def test_the_rest_can_start(chosen: dict[str, Any]):
    check_models(settings(**chosen))


def test_where_policy_and_critic_run():
    alone = settings(policy="none", critic="/models/VisualPRM-8B")
    assert not alone.has_policy and alone.has_critic and alone.served_name == "VisualPRM-8B"
    remote = settings(critic_url=f"{URL}/v1/")
    assert remote.has_critic and remote.critic_path is None and remote.critic_url == URL
    assert settings().has_critic and not settings(policy="/models/x").has_critic


@pytest.mark.parametrize(
    "url",
    ["critic:8000", "ftp://critic", "http://", "http://u:p@critic", "http://critic?x=1", "", "file:///x"],
)
def test_the_url_of_a_critic_is_one_of_a_server(url: str):
    with pytest.raises(ValidationError, match="critic_url must"):
        settings(critic_url=url)
