"""The key, the headers and the address of a connection."""

import json
from collections.abc import Mapping

import pytest

from clients.sdk.client import AsyncClient, Client
from clients.sdk.errors import ApiError, InvalidRequest, ServerUnreachable
from clients.sdk.sending.connection import Connection, connection_to
from clients.sdk.sending.timeouts import Timeouts, timeouts_of
from tests.clients.chat_server import completion
from tests.clients.raw_server import raw_server

CHAT = json.dumps(completion("7"))


def connection(
    url: str = "http://127.0.0.1:8000",
    *,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Connection:
    return connection_to(url, api_key=api_key, headers=headers, timeout=5, max_retries=0)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERNVL3_API_KEY", raising=False)


def test_the_key_comes_from_the_argument_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "authorization" not in connection().headers
    monkeypatch.setenv("INTERNVL3_API_KEY", "from the environment\n")
    assert connection().headers["authorization"] == "Bearer from the environment"
    assert connection(api_key="own").headers["authorization"] == "Bearer own"
    assert "authorization" not in connection(api_key="").headers


def test_headers_win_over_the_key_in_any_spelling() -> None:
    headers = connection(api_key="own", headers={"authorization": "Basic abc", "X-Team": "a"}).headers
    assert headers["Authorization"] == "Basic abc" and headers["x-team"] == "a"


@pytest.mark.parametrize("blocking", [False, True])
async def test_key_and_headers_go_with_every_request(blocking: bool) -> None:
    reply = '{"object": "list", "data": []}'
    with raw_server(lambda server: [server.replies(reply), server.replies(CHAT)]) as server:
        if blocking:
            with Client(server.url, api_key="secret", headers={"X-Team": "a"}) as client:
                client.files.list()
                client.ask("q")
        else:
            async with AsyncClient(server.url, api_key="secret", headers={"X-Team": "a"}) as async_client:
                await async_client.files.list()
                await async_client.ask("q")
    assert len(server.requests) == 2
    for request in server.requests:
        assert b"authorization: bearer secret\r\n" in request.lower() and b"x-team: a\r\n" in request.lower()


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("se\ncret", None),
        ("geheim\u00e9", None),
        (None, {"X-Team": "a\r\nX-Admin: 1"}),
        (None, {"X Team": "a"}),
        (None, {"": "a"}),
    ],
)
def test_what_is_no_header_is_refused_and_not_quoted(
    key: str | None, headers: Mapping[str, str] | None
) -> None:
    with pytest.raises(InvalidRequest, match="header") as refusal:
        connection(api_key=key, headers=headers)
    assert "cret" not in str(refusal.value) and "geheim" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("https://gateway.example/models/nano/v1", "https://gateway.example/models/nano"),
    ],
)
def test_the_address_may_end_in_v1(url: str, root: str) -> None:
    assert connection(url).url == root


def test_one_number_of_seconds_is_every_limit_but_a_connection_is_quick() -> None:
    assert timeouts_of(30) == Timeouts(connect=10, write=30, first_byte=30, between_bytes=30)
    assert timeouts_of(3).connect == 3
    assert timeouts_of(Timeouts(connect=50)).connect == 50


def test_a_password_in_the_address_is_sent_and_not_shown() -> None:
    assert connection("http://user:pa@ss@host/v1").shown_url == "http://host"
    with pytest.raises(InvalidRequest) as refusal:
        connection("http://user:secret@[::")
    assert "secret" not in str(refusal.value)
    with raw_server(lambda server: [server.replies("no", status="400 Bad")]) as server:
        url = server.url.replace("//", "//user:secret@")
        with Client(url) as client, pytest.raises(ApiError):
            client.ask("q")
    assert b"authorization: basic " in server.requests[0].lower()
    with Client(url) as client, pytest.raises(ServerUnreachable) as failure:
        client.ask("q")
    assert "secret" not in str(failure.value)
