"""Policy and critic over HTTP: any OpenAI-compatible server can serve them."""

from .critic import RemoteCritic
from .policy import RemotePolicy

__all__ = ["RemoteCritic", "RemotePolicy"]
