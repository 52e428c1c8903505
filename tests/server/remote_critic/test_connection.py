"""Requests to the server of a critic that fails in every way, over real sockets."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from server.engine_interface import ignore_tokens
from server.errors import ApiError, StartupError
from server.remote_critic.connection import CriticConnection
from server.remote_critic.engine import RemoteCriticEngine
from tests.server.apps import listening, settings
from tests.server.certificates import write_certificate
from ttscaling.types import Conversation, CriticError, StepScores

INFO = {"name": "critic", "v2pe_delta": 1.0, "tile_size": 56, "setup": {"name": "critic"}}
SCORES = {
    "scores": [{"steps": ["a"], "step_scores": [0.5]}],
    "usage": {"prompt_tokens": 5, "cached_tokens": 1},
}
QUESTION = Conversation(messages=({"role": "user", "content": "?"},))
Reply = Callable[[int], Awaitable[Response]]  # to the n-th request for scores, from 1 on


def critic_app(reply: Reply, info: Callable[[], Response] = lambda: JSONResponse(INFO)) -> FastAPI:
    """Return a server that describes a critic, and answers requests for scores with `reply`."""
    app = FastAPI()
    app.state.asked = 0

    @app.get("/v1/critic")
    async def describe() -> Response:
        return info()

    @app.post("/v1/critic/score")
    async def score(request: Request) -> Response:
        app.state.asked += 1
        return await reply(app.state.asked)

    return app


def error(status: int, code: str, **headers: str) -> Response:
    return JSONResponse({"error": {"message": f"{code}.", "code": code}}, status, headers=headers)


@asynccontextmanager
async def critic_of(app: FastAPI, **chosen: Any) -> AsyncIterator[RemoteCriticEngine]:
    async with listening(app) as url:
        mine = settings(critic_url=url, **chosen)
        critic = RemoteCriticEngine(await CriticConnection.open(mine), mine, policy_delta=1.0)
        try:
            yield critic
        finally:
            await critic.close()


async def score(critic: RemoteCriticEngine) -> StepScores:
    return await critic.score(QUESTION, "a", media={}, count=ignore_tokens)


async def test_a_busy_server_is_asked_again_for_some_time():
    async def reply(number: int) -> Response:
        return error(503, "server_busy", **{"Retry-After": "0"}) if number < 3 else JSONResponse(SCORES)

    app = critic_app(reply)
    async with critic_of(app) as critic:
        assert (await score(critic)).scores == (0.5,)
        assert app.state.asked == 3 and critic.alive

    async def always(number: int) -> Response:
        return error(429, "rate_limit_exceeded", **{"Retry-After": "0"})

    app = critic_app(always)
    async with critic_of(app) as critic:
        with pytest.raises(CriticError, match="rate_limit_exceeded"):
            await score(critic)
        assert app.state.asked == 3 and critic.alive, "it is there, and only busy"


@pytest.mark.parametrize("code", ["critic_failed", "engine_stopped", "model_loading"])
async def test_what_will_not_change_is_asked_once(code: str):
    async def reply(number: int) -> Response:
        return error(503, code, **{"Retry-After": "0"})

    app = critic_app(reply)
    async with critic_of(app) as critic:
        with pytest.raises(CriticError):
            await score(critic)
        assert app.state.asked == 1
        assert critic.alive == (code == "critic_failed")


async def test_what_the_server_refuses_is_refused_with_its_words():
    async def reply(number: int) -> Response:
        return error(400, "too_many_steps")

    async with critic_of(critic_app(reply)) as critic:
        with pytest.raises(CriticError, match="too_many_steps"):
            await score(critic)
        (outcome,) = await critic.score_answers(QUESTION, [["a"]], media={}, count=ignore_tokens)
        assert isinstance(outcome, ApiError) and (outcome.status, outcome.code) == (400, "too_many_steps")


@pytest.mark.parametrize(
    "content",
    [b"", b"no JSON", b"[]", b"5", b'{"scores": []}', b'{"scores": [{}], "usage": {}}', b'{"scores": 1}'],
)
async def test_other_replies_are_no_scores(content: bytes):
    async def reply(number: int) -> Response:
        return Response(content, media_type="application/json")

    async with critic_of(critic_app(reply)) as critic:
        with pytest.raises(CriticError, match="the critic's server sent"):
            await score(critic)


async def test_a_server_that_hangs_takes_no_more_than_the_critics_seconds():
    over = asyncio.Event()

    async def reply(number: int) -> Response:
        await over.wait()
        return JSONResponse(SCORES)

    async with critic_of(critic_app(reply), critic_seconds=0.2) as critic:
        with pytest.raises(CriticError, match=r"within 0\.2 seconds"):
            await score(critic)
        over.set()


async def test_a_server_that_lacks_the_same_media_again_and_again_fails_the_score():
    async def reply(number: int) -> Response:
        missing = {"message": "?", "code": "unknown_media", "missing": ["x"]}
        return JSONResponse({"error": missing}, 409)

    async with critic_of(critic_app(reply)) as critic:
        with pytest.raises(CriticError, match="media that the question doesn't have"):
            await score(critic)


async def test_redirects_are_not_followed():
    asked = []

    async def reply(number: int) -> Response:
        return RedirectResponse("/elsewhere")

    app = critic_app(reply)

    @app.post("/elsewhere")
    async def elsewhere() -> Response:
        asked.append("/elsewhere")
        return JSONResponse(SCORES)

    async with critic_of(app) as critic:
        with pytest.raises(CriticError):
            await score(critic)
    assert not asked and app.state.asked == 1
    redirecting = critic_app(reply, lambda: RedirectResponse("/elsewhere"))
    async with listening(redirecting) as url:
        with pytest.raises(StartupError, match="HTTP 307"):
            await CriticConnection.open(settings(critic_url=url))


@pytest.mark.parametrize("content", [b"no JSON", b"{}", b'{"name": "critic"}'])
async def test_a_server_that_describes_no_critic_counts_as_away(content: bytes):
    async def reply(number: int) -> Response:
        return JSONResponse(SCORES)

    app = critic_app(reply, lambda: Response(content, media_type="application/json"))
    async with critic_of(app) as critic:
        assert not critic.alive and critic.name == "unknown" and critic.setup is None
        assert critic.keeps_scores({"v2pe_delta": 0.5}) and critic.tile_size is None
        with pytest.raises(CriticError, match="can't be reached"):
            await score(critic)
        assert app.state.asked == 0


async def test_the_log_says_once_that_the_critic_is_gone(caplog: pytest.LogCaptureFixture):
    async def reply(number: int) -> Response:
        return JSONResponse(SCORES)

    with caplog.at_level(logging.INFO, "internvl3.critic"):
        async with critic_of(critic_app(reply, lambda: error(503, "model_loading"))) as critic:
            for _ in range(3):
                with pytest.raises(CriticError):
                    await score(critic)
    (line,) = caplog.messages
    assert "model_loading" in line and "on_critic_error" in line


async def test_a_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def reply(number: int) -> Response:
        return JSONResponse(SCORES)

    certificate, key = write_certificate(tmp_path)
    config = uvicorn.Config(
        critic_app(reply),
        host="127.0.0.1",
        port=0,
        log_level="critical",
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    url = f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        unknown = await CriticConnection.open(settings(critic_url=url))
        assert not unknown.is_up
        await unknown.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        known = await CriticConnection.open(settings(critic_url=url))
        assert known.is_up
        await known.close()
    finally:
        server.should_exit = True
        await running
