"""The Python client library of the server."""

from .answer_stream import Progress, TextPiece, ToolCallPiece
from .answers import Answer
from .batches.objects import Batch, BatchResult
from .boxes import Box, boxes_in
from .client import AsyncClient, Client
from .errors import (
    ApiError,
    ClientError,
    InvalidRequest,
    OutcomeUnknown,
    ServerUnreachable,
    TimedOut,
    UploadInterrupted,
)
from .files.progress_bar import progress_bar
from .files.stored_files import StoredFile
from .messages import user_message
from .partial_upload import PartialUpload
from .questions import Frames, question
from .sending.timeouts import Timeouts

__all__ = [
    "Answer",
    "ApiError",
    "AsyncClient",
    "Batch",
    "BatchResult",
    "Box",
    "Client",
    "ClientError",
    "Frames",
    "InvalidRequest",
    "OutcomeUnknown",
    "PartialUpload",
    "Progress",
    "ServerUnreachable",
    "StoredFile",
    "TextPiece",
    "TimedOut",
    "Timeouts",
    "ToolCallPiece",
    "UploadInterrupted",
    "boxes_in",
    "progress_bar",
    "question",
    "user_message",
]
