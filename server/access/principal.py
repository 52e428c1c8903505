"""Who sends a request: its API key's name, limits and account."""

import hashlib
from dataclasses import dataclass
from typing import Any

from server.settings import Settings

from .rate_limits import Account


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The sender of a request.

    `settings` are the server's with the limits of the key. `salt` keeps what one key has cached from others,
    who could find out by the time of an answer what it had asked; None if the server has no keys.
    """

    name: str
    is_admin: bool
    settings: Settings
    account: Account
    salt: bytes | None = None

    def cache_salt(self, chosen: Any) -> Any:
        """Return the salt of a request's caches, given its `cache_salt`.

        That may still be of any type. One that is no text is returned as it is, and the engine refuses it.
        """
        if self.salt is None or not (chosen is None or isinstance(chosen, str)):
            return chosen
        return hashlib.blake2b(
            (chosen or "").encode("utf-8", "surrogatepass"), key=self.salt, digest_size=16
        ).hexdigest()
