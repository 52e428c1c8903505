"""The engine's errors in our words, and which of them end a whole selection."""

import pytest
from vllm.exceptions import QueueOverflowError, VLLMValidationError
from vllm.v1.engine.exceptions import EngineDeadError

from model.v2pe import WindowExceeded
from server.errors import ApiError
from server.vllm_engine.error_mapping import api_error, candidate_error
from ttscaling.types import PolicyError


def test_a_busy_engine_fails_one_candidate():
    error = candidate_error(QueueOverflowError())
    assert isinstance(error, PolicyError)
    cause = error.__cause__
    assert isinstance(cause, ApiError) and (cause.status, cause.code) == (503, "engine_busy")


def test_a_bug_fails_one_candidate_and_is_logged(caplog: pytest.LogCaptureFixture):
    error = candidate_error(RuntimeError("at 0x7f00"))
    assert isinstance(error, PolicyError) and "0x" not in str(error)
    assert "0x7f00" in caplog.text


@pytest.mark.parametrize(
    "error",
    [EngineDeadError(), ApiError("No.", status=400), VLLMValidationError("n is wrong"), ValueError("x")],
)
def test_what_meets_every_candidate_ends_the_selection(error: Exception):
    assert candidate_error(error) is error


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("top_k must be 0 (disable), or at least 1, got -5.", "top_k"),
        ("stop cannot contain an empty string.", "stop"),
        ("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs"),
        ("You can only use one kind of constraints for structured outputs.", "structured_outputs"),
        ("the model and its user can't stop", None),
        ('tool_choice="required" requires more', "tool_choice"),
    ],
)
def test_a_refusal_names_the_field_that_its_message_names(message: str, param: str | None):
    assert api_error(ValueError(message)).param == param


def test_what_exceeds_the_window_says_so_whatever_its_words():
    error = api_error(WindowExceeded("the prompt takes 99 positions"))
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert api_error(ValueError("the model's window is open")).code == "invalid_value"


def test_the_field_that_vllm_names_itself_wins():
    assert api_error(VLLMValidationError("top_k and min_p", parameter="min_p")).param == "min_p"
