"""Every command that asks a server by its address can send a key and headers."""

import pytest
import typer

from clients.cli import SUB_COMMANDS, load
from tests.clients.raw_server import raw_server
from ttscaling.asking.address import Address, address_of
from ttscaling.asking.client import connected
from ttscaling.console import CommandError, run_command

URL = "http://127.0.0.1:8000"


def test_key_and_headers_become_headers() -> None:
    assert address_of(URL) == address_of(URL, " \n") == Address(URL, {})
    assert address_of(URL, "secret\n", ["X-Team:  a: b "]).headers == {
        "Authorization": "Bearer secret",
        "X-Team": "a: b",
    }
    assert address_of(URL, "secret", ["authorization: Basic x"]).headers == {"Authorization": "Basic x"}


@pytest.mark.parametrize(
    ("key", "header"),
    [("sec\nret", None), ("geheim\u00e9", None), (None, "no colon"), (None, "a: b\r\nc: d")],
)
def test_what_is_no_header_is_refused_and_not_quoted(key: str | None, header: str | None) -> None:
    with pytest.raises(CommandError, match="Name: value") as refusal:
        address_of(URL, key, None if header is None else [header])
    assert "sec" not in str(refusal.value) and "geheim" not in str(refusal.value)


async def test_they_go_with_every_request() -> None:
    with raw_server(lambda server: [server.replies('{"data": []}')]) as server:
        async with connected(address_of(server.url, "secret", ["X-Team: a"])) as client:
            await client.get("/v1/models")
    (request,) = server.requests
    assert b"authorization: bearer secret\r\n" in request.lower() and b"x-team: a\r\n" in request.lower()


def options_by_command(command: object, name: str) -> dict[str, set[str]]:
    below = getattr(command, "commands", {})
    if below:
        found: dict[str, set[str]] = {}
        for part, one in below.items():
            found |= options_by_command(one, f"{name} {part}")
        return found
    return {name: {option for parameter in command.params for option in parameter.opts}}  # type: ignore[attr-defined]


def test_every_command_that_takes_an_address_takes_key_and_headers() -> None:
    commands: dict[str, set[str]] = {}
    for name, command in SUB_COMMANDS.items():
        commands |= options_by_command(load(command.target), name)
    asking = {name for name, options in commands.items() if "--base-url" in options}
    assert {"ask", "eval curves", "eval nano", "tune-delta", "train rollouts"} <= asking
    assert {name for name in asking if not {"--api-key", "--header"} <= commands[name]} == set()


def test_what_a_server_sends_is_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> dict[str, str]:
        raise CommandError("the server refused: \x1b[2J\x9b\x07 数")

    with pytest.raises(typer.Exit):
        run_command(refuse, lambda figures, console: None, as_json=False)
    assert capsys.readouterr().err == "error: the server refused: \ufffd[2J\ufffd\ufffd 数\n"
