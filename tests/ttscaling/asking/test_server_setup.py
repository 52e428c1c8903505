from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.clients.chat_server import SETUP, Reply, chat_server
from ttscaling.asking.client import connected
from ttscaling.asking.server_setup import critic_name, policy_setup, server_setup
from ttscaling.console import CommandError

Read = Callable[..., Awaitable[Mapping[str, Any]]]


async def asked(
    setup: Mapping[str, Any] | None, model: str | None = None, read: Read = server_setup, **server: Any
) -> Mapping[str, Any]:
    with chat_server(lambda body: Reply({}), setup=setup, **server) as url:
        async with connected(url, pauses=()) as client:
            return await read(client, model)


async def test_the_setup_is_that_of_the_requested_model() -> None:
    assert await asked(SETUP) == SETUP == await asked(SETUP, "nano")
    with pytest.raises(CommandError, match=r"no setup of the model other.*its models are nano"):
        await asked(SETUP, "other")


async def test_a_server_that_states_no_setup_is_no_internvl3_server() -> None:
    with pytest.raises(CommandError, match=r"holds no setup.*use the address of an internvl3 server"):
        await asked(None)


@pytest.mark.parametrize("read", [server_setup, policy_setup])
async def test_a_server_whose_models_still_load_is_an_error_of_its_own(read: Read) -> None:
    with pytest.raises(CommandError, match="still loading: try again"):
        await asked({}, read=read)


def test_a_server_without_a_critic_is_an_error() -> None:
    assert critic_name(SETUP) == "nano-critic"
    with pytest.raises(CommandError, match="start it with --critic"):
        critic_name({"version": "0.1.0", "policy": SETUP["policy"]})


async def test_of_any_server_the_policy_is_named_as_well_as_it_states_it() -> None:
    """An internvl3 server states its setup, without the critic; another one its models, or nothing at all."""
    stated = [await asked(setup, model, policy_setup) for setup in (SETUP, None) for model in (None, "other")]
    assert stated == [{"version": "0.1.0", "policy": SETUP["policy"]}, {}, {"id": "nano"}, {}]


async def test_a_server_without_a_list_of_models_states_nothing() -> None:
    assert await asked(None, read=policy_setup, lists_models=False) == {}
