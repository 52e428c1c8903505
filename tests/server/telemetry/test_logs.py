"""The log of an engine: one line and no stack if it can't start, and a stack for every error after that."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Self

import pytest
from pydantic import BaseModel, ValidationError, model_validator
from vllm.exceptions import VLLMValidationError

from server.errors import ApiError
from server.telemetry import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore logging and the environment after the test."""
    loggers = [logging.getLogger(name) for name in ("internvl3", "uvicorn", "vllm")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    variable = os.environ.get("VLLM_LOGGING_CONFIG_PATH")
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
    if variable is None:
        os.environ.pop("VLLM_LOGGING_CONFIG_PATH", None)
    else:
        os.environ["VLLM_LOGGING_CONFIG_PATH"] = variable


def fail() -> None:
    try:
        raise ValueError("the checkpoint lacks a.b\nand more\nand more")
    except ValueError:
        logging.getLogger("vllm.v1.worker").exception("WorkerProc failed to start.")


def test_the_first_reason_is_kept_and_no_stack_is_shown(tmp_path, capsys, restored):
    reasons = logs.configure(tmp_path, "error")
    assert not reasons.exists()
    logging.getLogger("vllm.v1").error("a plain error")
    fail()
    shown = capsys.readouterr().err
    assert "WorkerProc failed to start. ValueError: the checkpoint lacks a.b" in shown
    assert "Traceback" not in shown
    assert reasons.read_text().splitlines() == ["ValueError: the checkpoint lacks a.b"]


def test_nothing_is_collected_after_the_start(tmp_path, capsys, restored):
    reasons = logs.configure(tmp_path, "error")
    fail()
    logs.engines_started(reasons)
    fail()
    assert len(reasons.read_text().splitlines()) == 1
    assert capsys.readouterr().err.count("WorkerProc failed to start") == 2


def test_after_the_start_a_bug_has_its_stack_and_a_client_nothing_in_the_log(tmp_path, capsys, restored):
    """vLLM logs each exception in a stream as an error, and answers 400 to some of them."""
    logs.engines_started(logs.configure(tmp_path, "error"))
    shown = []
    for error in (
        RuntimeError("a bug"),
        ValueError("sent by the client"),
        VLLMValidationError("no", parameter="stop", value="sent by the client"),
        ApiError("The critic failed.", status=503),
    ):
        try:
            raise error
        except Exception:
            logging.getLogger("vllm.entrypoints").exception("Error in chat completion stream generator.")
        shown.append(capsys.readouterr().err)
    assert "test_logs.py" in shown[0] and "RuntimeError: a bug" in shown[0]
    assert "test_logs.py" in shown[1] and shown[1].endswith("\nValueError\n")
    assert shown[2] == ""
    assert "The critic failed." in shown[3] and "test_logs.py" not in shown[3]


def test_after_the_start_an_error_has_its_stack_in_every_process(tmp_path, capsys, restored):
    """An error of an engine came to the log as one line, so nobody could find what had caused it."""
    reasons = logs.configure(tmp_path, "error")
    fail()
    assert "Traceback" not in capsys.readouterr().err
    logs.engines_started(reasons)
    fail()
    assert "Traceback" in capsys.readouterr().err
    code = """
import json, logging.config, os
logging.config.dictConfig(json.load(open(os.environ["VLLM_LOGGING_CONFIG_PATH"])))
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("vllm.v1.engine").exception("Unexpected error")
"""
    engine = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Traceback" in engine.stderr and engine.stderr.rstrip().endswith(
        "ZeroDivisionError: division by zero"
    )


@pytest.mark.parametrize(("status", "shown"), [(400, False), (404, False), (500, True), (503, True)])
def test_a_refused_request_is_no_error_of_the_log(tmp_path, capsys, restored, status: int, shown: bool):
    logs.configure(tmp_path, "error")
    try:
        raise ApiError("Send less.", status=status)
    except ApiError:
        logging.getLogger("vllm.entrypoints").exception("Error in chat completion stream generator.")
    assert ("stream generator" in capsys.readouterr().err) is shown


def test_debug_shows_stacks(tmp_path, capsys, restored):
    logs.configure(tmp_path, "debug")
    fail()
    assert "Traceback" in capsys.readouterr().err


def test_engines_find_the_configuration_by_environment(tmp_path, restored):
    logs.configure(tmp_path, "error")
    assert os.environ["VLLM_LOGGING_CONFIG_PATH"] == str(tmp_path / "logging.json")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (ValueError("\n  two"), "ValueError: two"),
        (OSError(), "OSError"),
    ],
)
def test_reason_is_one_line(error, line):
    assert logs.error_line(error) == line


def test_the_reason_in_an_error_of_pydantic_is_shown():
    """vLLM checks an engine's configuration with pydantic, and our plugin's refusals pass through it."""

    class Engine(BaseModel):
        @model_validator(mode="after")
        def check(self) -> Self:
            raise ValueError("use ngram")

    with pytest.raises(ValidationError) as refusal:
        Engine()
    assert logs.error_line(refusal.value) == "ValueError: use ngram"


def test_json_lines(tmp_path, capsys, restored):
    """Each line is an object. An engine's error is one line before the start, and a stack after it."""
    reasons = logs.configure(tmp_path, "error", "json")
    logging.getLogger("internvl3.server").info("a %s", "line\nand more", extra={"fields": {"status": 200}})
    fail()
    logs.engines_started(reasons)
    fail()
    ours, before, after = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ours["message"] == "a line\nand more" and ours["status"] == 200 and ours["level"] == "info"
    assert datetime.fromisoformat(ours["time"]).utcoffset() == timedelta(0)
    assert before["error"] == "ValueError: the checkpoint lacks a.b" and "stack" not in before
    assert "Traceback" in after["stack"] and after["stack"].endswith("\nValueError")
