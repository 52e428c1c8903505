"""Host headers and origins: a page of a stranger reaches no server on the loopback."""

import httpx
import pytest

from tests.server.apps import app_with, client_of, question, settings
from tests.server.fakes import FakeEngine

CHAT = "/v1/chat/completions"


async def get(name: str, **chosen: str) -> httpx.Response:
    async with client_of(app_with(FakeEngine(["yes"]), **chosen)) as client:
        return await client.get("/livez", headers={"Host": name})


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9", "[::1]:8000", "LOCALHOST"])
async def test_the_loopbacks_names_are_answered(host: str):
    assert (await get(host)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
async def test_another_name_is_refused_on_a_loopback_address(host: str):
    reply = await get(host)
    assert reply.status_code == 421
    assert reply.json()["error"]["type"] == "invalid_request_error" and "x-request-id" in reply.headers


async def test_a_server_for_others_answers_to_every_name_unless_told():
    assert (await get("pod-7.internal:8000", host="0.0.0.0")).status_code == 200
    named = {"host": "0.0.0.0", "allowed_hosts": "api.example, Other.example"}
    assert (await get("API.example:443", **named)).status_code == 200
    assert (await get("other.example", **named)).status_code == 200
    assert (await get("evil.example", **named)).status_code == 421
    assert (await get("evil.example", allowed_hosts="*")).status_code == 200


async def test_no_origin_is_allowed_by_default():
    async with client_of(app_with(FakeEngine(["yes"]))) as client:
        reply = await client.post(CHAT, json=question(), headers={"Origin": "https://app.example"})
    assert "access-control-allow-origin" not in reply.headers


async def test_allowed_origins_get_their_preflight_answered():
    origin = {"Origin": "https://app.example"}
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with client_of(app_with(FakeEngine(["yes"]), allowed_origins="https://app.example")) as client:
        preflight = await client.options(CHAT, headers=origin | asks)
        reply = await client.post(CHAT, json=question(), headers=origin)
        other = await client.options(CHAT, headers={"Origin": "https://evil.example"} | asks)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("entry", ["10.0.0.5/8", "https://media.example", "media.example/path", "a b"])
def test_entries_that_would_never_match_are_refused(entry: str):
    with pytest.raises(ValueError, match=r"is no (network|host name)"):
        app_with(FakeEngine(["yes"]), private_media_hosts=entry)


def test_host_names_match_in_lower_case():
    assert settings(private_media_hosts="Media.Internal, 10.0.0.0/8").private_media_hosts == (
        "media.internal",
        "10.0.0.0/8",
    )
