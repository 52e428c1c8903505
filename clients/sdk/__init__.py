"""The Python client library for the chat endpoint."""

from .client import AsyncClient, Client
from .errors import ApiError, ClientError, ServerUnreachable
from .messages import user_message

__all__ = ["ApiError", "AsyncClient", "Client", "ClientError", "ServerUnreachable", "user_message"]
