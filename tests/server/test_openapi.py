"""schemathesis sends what the OpenAPI document allows and forbids: no 5xx, and every error has its form.

The examples are the same in each run. Answers are kept short, because what counts is how a request is read.
"""

from collections.abc import Mapping
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from server.http.openapi import ANTHROPIC_ERROR, OPENAI_ERROR, describe
from tests.server.apps import app_with
from tests.server.fakes import FakeEngine
from tests.server.running import RunningServer

pytestmark = pytest.mark.engine
MODES = {"allowed": GenerationMode.POSITIVE, "forbidden": GenerationMode.NEGATIVE}
OPERATIONS = [
    (method.upper(), path, mode)
    for path, operations in describe(app_with(FakeEngine([])), {})["paths"].items()
    for method, operation in operations.items()
    for mode in MODES
    if mode == "allowed" or "requestBody" in operation  # any text may stand in a path
]
SCORE = "/v1/critic/score"
ANSWERS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")  # write an answer
EXAMPLES = 12  # of each operation and mode
LIMITS = {"/v1/responses": "max_output_tokens", "/v1/chat/completions": "max_completion_tokens"}


@pytest.fixture(scope="module")
def document(server: RunningServer) -> Mapping[str, Any]:
    reply = httpx.get(f"{server.url}/openapi.json", timeout=120)
    assert reply.status_code == 200
    described: dict[str, Any] = reply.json()
    return described


def served(body: Any, path: str) -> Any:
    """Return a body that asks for the served model and for a short answer, if it is an object at all."""
    if not isinstance(body, dict) or not path.startswith((*ANSWERS, SCORE, "/tokenize")):
        return body
    changed = dict(body)
    if isinstance(body.get("model", ""), str):
        changed["model"] = "nano"
    if path != SCORE:
        limit = LIMITS.get(path, "max_tokens")
        asked = body.get(limit, 4)
        changed[limit] = min(4, asked) if isinstance(asked, int) else asked
    if isinstance(body.get("test_time_scaling"), dict):
        changed["test_time_scaling"] = {**body["test_time_scaling"], "n": 2}
    return changed


@pytest.mark.parametrize(("method", "path", "mode"), OPERATIONS)
def test_no_request_fails_the_server(
    server: RunningServer, document: Mapping[str, Any], method: str, path: str, mode: str
):
    operation = schemathesis.openapi.from_dict(dict(document))[path][method]
    form = ANTHROPIC_ERROR if path.startswith("/v1/messages") else OPENAI_ERROR
    statuses: list[int] = []

    @given(case=operation.as_strategy(generation_mode=MODES[mode]))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case) -> None:
        case.body = served(case.body, path)
        reply = case.call(base_url=server.url, timeout=120)
        statuses.append(reply.status_code)
        assert reply.status_code < 500, (case.body, reply.content)
        if reply.status_code >= 400:
            jsonschema.validate(reply.json(), form)

    ask()
    assert statuses
