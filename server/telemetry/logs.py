"""The logging of the server's process and of the engines' processes.

vLLM's processes read this configuration from a file. An engine that can't start logs pages of traceback. The
log shows them only at log level debug. In any case the one-line errors are collected in a second file, and
its first line is the reason why the engine did not start. Once the engines have started, every error has its
traceback in the log.
"""

import json
import logging
import logging.config
import os
import traceback
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from server.errors import ApiError

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class StackFormatter(logging.Formatter):
    """Formats a record with its stack, but without the message of an error that a client may have caused.

    vLLM answers 400 to errors of these types, and their messages may hold what the client sent.
    """

    def formatException(self, ei: Any) -> str:
        kind, error, stack = ei
        if isinstance(error, ApiError):  # it says itself what is wrong
            return error_line(error)
        if isinstance(error, ValueError | TypeError | OverflowError):
            return "".join(
                ["Traceback (most recent call last):\n", *traceback.format_tb(stack), kind.__name__]
            )
        return super().formatException(ei)


class OneLineFormatter(StackFormatter):
    """Formats a record without its traceback, as its message and the first line of its error.

    As soon as the file `started` exists, it formats records with their stacks. A file tells this to the
    engines' processes as well.
    """

    def __init__(self, fmt: str, started: str) -> None:
        super().__init__(fmt)
        self._started = Path(started)

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info and self._started.exists():
            return super().format(record)
        plain = logging.makeLogRecord(
            record.__dict__ | {"exc_info": None, "exc_text": None, "stack_info": None}
        )
        error = record.exc_info[1] if record.exc_info else None
        return super().format(plain) + (f" {error_line(error)}" if error else "")


class JsonFormatter(StackFormatter):
    """Formats a record as a JSON object in one line: time, level, logger, message, and the record's `fields`.

    Before the file `started` exists, an error stands there as one line, and then as its stack. Without such a
    file it is always the stack.
    """

    def __init__(self, started: str | None = None) -> None:
        super().__init__()
        self._started = None if started is None else Path(started)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            if self._started is None or self._started.exists():
                line["stack"] = self.formatException(record.exc_info)
            else:
                line["error"] = error_line(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


class ReasonFormatter(logging.Formatter):
    """Formats a record as nothing but the first line of its error."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return error_line(error) if error else record.getMessage()


class WithError(logging.Filter):
    """Lets only records with an exception pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.exc_info and record.exc_info[1])


class NoRefusals(logging.Filter):
    """Drops records of requests that were refused, with a status below 500.

    vLLM's chat handler logs every exception in a stream as an error, also those that tell a client what to
    change: our ApiError, and vLLM's VLLMClientError, which is known by its name, as vllm isn't imported here.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApiError):
            return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return all(kind.__name__ != "VLLMClientError" for kind in type(error).__mro__)


def error_line(error: BaseException) -> str:
    """Return one line with an error's type and the first line of its message.

    pydantic's message begins with a count of errors, so the first of them is taken in its place.
    """
    if isinstance(error, ValidationError):
        return f"ValueError: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def configure(folder: Path, level: str, line_format: str = "text") -> Path:
    """Set up logging here and, by an environment variable, in the engines.

    Returns the file that collects the one-line errors of the engines. It exists once there is an error.

    Args:
        folder: an existing folder for that file and for vLLM's logging configuration.
        level: the log level of vLLM, in lower case.
        line_format: "text", or "json" for lines that are JSON objects.
    """
    reasons = folder / "reasons"
    started = str(_started(reasons))
    formatters: dict[str, Any] = {
        "full": {"format": LINE},
        "line": {"()": f"{__name__}.{OneLineFormatter.__name__}", "fmt": LINE, "started": started},
    }
    if line_format == "json":
        json_lines = f"{__name__}.{JsonFormatter.__name__}"
        formatters = {"full": {"()": json_lines}, "line": {"()": json_lines, "started": started}}
    engines = "full" if level == "debug" else "line"
    config: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "with_error": {"()": f"{__name__}.{WithError.__name__}"},
            "no_refusals": {"()": f"{__name__}.{NoRefusals.__name__}"},
        },
        "formatters": {
            **formatters,
            "reason": {"()": f"{__name__}.{ReasonFormatter.__name__}"},
        },
        "handlers": {
            "ours": {"class": "logging.StreamHandler", "formatter": "full", "stream": "ext://sys.stderr"},
            "engines": {
                "class": "logging.StreamHandler",
                "formatter": engines,
                "stream": "ext://sys.stderr",
                "filters": ["no_refusals"],
            },
            "reasons": {
                "class": "logging.FileHandler",
                "filename": str(reasons),
                "delay": True,
                "level": "ERROR",
                "formatter": "reason",
                "filters": ["with_error"],
            },
        },
        "loggers": {
            "internvl3": {"handlers": ["ours"], "level": "INFO", "propagate": False},
            "uvicorn": {"handlers": ["ours"], "level": "WARNING", "propagate": False},
            "opentelemetry": {"handlers": ["ours"], "level": "ERROR", "propagate": False},
            "torch._library": {"level": "ERROR"},  # it warns on every CPU that Triton is missing
            "vllm": {"handlers": ["engines", "reasons"], "level": level.upper(), "propagate": False},
        },
    }
    file = folder / "logging.json"
    file.write_text(json.dumps(config))
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(file)
    logging.config.dictConfig(config)
    return reasons


def engines_started(reasons: Path) -> None:
    """Log errors with their tracebacks from now on, and stop collecting reasons in this process.

    Later errors would let that file grow for as long as the server runs, and clients can cause them.
    `reasons` is what `configure` has returned.
    """
    _started(reasons).touch()
    logger = logging.getLogger("vllm")
    for handler in [one for one in logger.handlers if isinstance(one, logging.FileHandler)]:
        logger.removeHandler(handler)
        handler.close()


def _started(reasons: Path) -> Path:
    return reasons.with_name("started")
