"""Ask a server what its answers and scores depend on, so that kept results of two servers are never mixed."""

from collections.abc import Mapping
from typing import Any

from ttscaling.console import CommandError

from .client import Refused, ServerClient, read_reply

MODELS = "/v1/models"


async def server_setup(server: ServerClient, model: str | None = None) -> Mapping[str, Any]:
    """Return the `setup` that an internvl3 server states for a model, by default for its own.

    It holds the `version` of the server, and the name, the checkpoint's digest and the settings of the
    `policy` and, if there is one, of the `critic`. Raises CommandError if no such server answers.
    """

    def read(reply: Mapping[str, Any]) -> Mapping[str, Any]:
        for card in reply["data"]:
            if model in (None, card["id"]):
                return _loaded(card["setup"])
        raise ValueError(f"its models are {', '.join(card['id'] for card in reply['data'])}")

    expected = "setup" if model is None else f"setup of the model {model}"
    return read_reply(await server.get(MODELS), read, expected=expected)


async def policy_setup(server: ServerClient, model: str | None = None) -> Mapping[str, Any]:
    """Return what any server with OpenAI's API states about the policy behind a model's name.

    An internvl3 server states its setup. Of another server it is the model's name, with vLLM also its path
    and window. It is empty where a server lists no such model. Raises CommandError if no server answers.
    """
    try:
        cards = (await server.get(MODELS)).get("data")
    except Refused:
        return {}
    for card in cards if isinstance(cards, list) else []:
        if model in (None, card.get("id")):
            if "setup" in card:
                return {name: _loaded(card["setup"])[name] for name in ("version", "policy")}
            return {name: card[name] for name in ("id", "root", "max_model_len") if name in card}
    return {}


def _loaded(setup: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not setup:
        raise CommandError("the server's models are still loading: try again when they are ready")
    return setup


def critic_name(setup: Mapping[str, Any]) -> str:
    """Return the name of the server's critic. Raises CommandError if it has none."""
    if "critic" not in setup:
        raise CommandError("the server runs without a critic: start it with --critic CHECKPOINT")
    return str(setup["critic"]["name"])
