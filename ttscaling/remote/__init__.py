"""A policy and a critic that ask any OpenAI-compatible server over HTTP."""

from .critic import RemoteCritic
from .policy import RemotePolicy

__all__ = ["RemoteCritic", "RemotePolicy"]
