"""The OpenAPI document knows every path, what it takes and how it fails."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from server.http.openapi import DESCRIBED, FORMS, describe
from tests.server.apps import app_with, client_of
from tests.server.fakes import FakeEngine

NO_BODY = ("/cancel",)  # the last parts of paths whose POST takes no body that matters


@pytest.fixture(scope="module")
def document() -> Mapping[str, Any]:
    return describe(app_with(FakeEngine(["yes"])), {"ChatCompletionRequest": {"type": "object"}})


def test_every_route_is_in_it(document: Mapping[str, Any]):
    paths = {re.sub(r":\w+}", "}", route.path) for route in app_with(FakeEngine([])).routes}  # type: ignore[attr-defined]
    assert document["paths"].keys() == paths
    assert set(DESCRIBED) | set(FORMS) <= paths


def test_every_post_says_what_it_takes(document: Mapping[str, Any]):
    for path, operations in document["paths"].items():
        if "post" in operations and not path.endswith(NO_BODY):
            assert operations["post"]["requestBody"]["required"], path


def test_every_operation_says_how_it_fails(document: Mapping[str, Any]):
    for path, operations in document["paths"].items():
        for operation in operations.values():
            error = operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"]
            expected = "AnthropicError" if path.startswith("/v1/messages") else "OpenAIError"
            assert error.endswith(expected) and "422" not in operation["responses"]


async def test_it_is_served_when_the_models_are_loaded():
    async with client_of(app_with(FakeEngine(["yes"]))) as client:
        reply = await client.get("/openapi.json")
        again = await client.get("/openapi.json")
        assert (await client.get("/docs")).status_code == 404
    assert reply.status_code == 200 and reply.json()["openapi"].startswith("3.1")
    assert again.content == reply.content


async def test_it_needs_a_key():
    async with client_of(app_with(FakeEngine(["yes"]), api_key="secret")) as client:
        assert (await client.get("/openapi.json")).status_code == 401
