"""Turn vLLM's refusals and failures into ApiErrors."""

import logging
from http import HTTPStatus

from vllm.entrypoints.serve import create_error_response
from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse
from vllm.entrypoints.serve.exception_handling.utils import sanitize_message
from vllm.exceptions import VLLMError
from vllm.v1.engine.exceptions import EngineDeadError

from model.v2pe import WindowExceeded
from server.errors import INVALID, TOO_COMPLEX, TOO_LONG, ApiError, internal_error, stopped
from server.protocol.engine_fields import PASSED, named_field
from ttscaling.types import PolicyError

from .internals.messages import (
    DEEP_SCHEMA,
    ENGINE_DIED,
    NO_TOOL_PARSER,
    PROMPT_TOO_LONG,
    SEVERAL_CONSTRAINTS,
    TEMPLATE_REFUSED,
    UNREADABLE_TAG,
)

logger = logging.getLogger("internvl3.engine")


def api_error(error: ErrorResponse | Exception) -> ApiError:
    """Return vLLM's error as an ApiError. The details of a failure of the server go to the log only."""
    reported = error if isinstance(error, ErrorResponse) else create_error_response(error)
    info: ErrorInfo = reported.error
    if info.message.startswith(ENGINE_DIED):
        return stopped()
    if info.code == HTTPStatus.SERVICE_UNAVAILABLE:
        return ApiError("The engine is busy. Retry in a few seconds.", status=503, code="engine_busy")
    if info.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = error if isinstance(error, Exception) else None
        logger.error("the engine failed: %s", info.message, exc_info=cause)
        return internal_error()
    # The text of a VLLMError ends with parameter and value in brackets. The ApiError has a field for the
    # parameter, so only the sentence before them is kept.
    plain = str(error.args[0]) if isinstance(error, VLLMError) and error.args else info.message
    message = sanitize_message(plain)  # of addresses in memory and the like
    if PROMPT_TOO_LONG in message:
        advice = "Shorten the messages, send fewer or smaller images, or lower max_dynamic_patch."
        param = info.param if info.param in PASSED else "messages"
        return ApiError(f"{message} {advice}", param=param, code=TOO_LONG)
    if isinstance(error, WindowExceeded):  # of our processor, which says what to change
        return ApiError(message, param="messages", code=TOO_LONG)
    if NO_TOOL_PARSER in message:
        message = f"{message}. The server's operator sets it in --policy-args."
    if SEVERAL_CONSTRAINTS in message:  # vLLM goes on with all fields that the constraints may have
        message = f"{message.partition(': {')[0]}. Send exactly one, such as a schema."
    if "serialization depth" in message:
        deep = "The schema of a tool is nested too deeply. Send a flatter one."
        return ApiError(deep, param="tools", code=TOO_COMPLEX)
    if message == UNREADABLE_TAG:
        message = "The grammar of a strict tool or of a structural tag can't be compiled. Check its patterns."
    if TEMPLATE_REFUSED in message:
        message = "chat_template is not supported, because a template is a program. Leave it out."
    param = info.param or named_field(plain)
    if info.code == HTTPStatus.NOT_FOUND:
        return ApiError(message, status=404, param=param, code="model_not_found")
    code = TOO_COMPLEX if DEEP_SCHEMA in message else INVALID
    return ApiError(message, param=param, code=code)


def candidate_error(error: Exception) -> Exception:
    """Return the error of one candidate's engine request as its selection has to see it.

    An engine that has died, and a refusal that all candidates of the request would get, end the selection.
    Any other error fails this candidate alone, so it becomes a PolicyError, caused by the ApiError to reply
    with if all candidates fail.
    """
    if isinstance(error, ApiError | EngineDeadError):
        return error
    refusal = api_error(error)
    if refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return error
    failed = PolicyError(refusal.message)
    failed.__cause__ = refusal
    return failed
