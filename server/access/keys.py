"""Find who sends a request by its API key, and read the keys again when their file changes."""

import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from server.errors import ApiError, StartupError
from server.settings import Settings
from ttscaling.types import TokenUsage

from .key_file import RATES, KeyEntry, digest_of, read_key_file
from .principal import Principal
from .rate_limits import Account, Rates

logger = logging.getLogger("internvl3.server")
SINGLE_KEY = "default"  # the name of the key in --api-key
ANONYMOUS = "anonymous"
RELOAD_SECONDS = 1.0  # between two looks at the file


class Keys:
    """The API keys of one server. Without any key, everybody is the same principal."""

    def __init__(
        self,
        settings: Settings,
        report: Callable[[str, TokenUsage], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the keys.

        Args:
            settings: the server's settings.
            report: gets the name of a key and the tokens that it has taken.
            clock: returns seconds that never go back.

        Raises:
            StartupError: the file of the keys can't be used.
        """
        self._settings = settings
        self._report = report
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._accounts: dict[str, Account] = {}
        self._principals: Mapping[str, Principal] = {}  # by SHA-256
        self._version: object = None  # of the file
        self._next_look = clock() + RELOAD_SECONDS
        self._anonymous = None
        if settings.api_keys is None and settings.api_key is None:
            self._anonymous = Principal(
                name=ANONYMOUS, is_admin=False, settings=settings, account=self._account(ANONYMOUS, Rates())
            )
        else:
            self._version = _version(settings.api_keys)
            self._principals = self._read()

    def find(self, presented: str | None) -> Principal:
        """Return whose key a request has brought. Raises ApiError (401) if it is nobody's."""
        if self._anonymous is not None:
            return self._anonymous
        if presented is None:
            raise _refusal("No API key came with the request. Send it as `Authorization: Bearer KEY`.")
        self._reload()
        digest = digest_of(presented)
        # Every digest is compared in constant time, so the time of a refusal says nothing about the keys.
        found = [
            principal for known, principal in self._principals.items() if hmac.compare_digest(known, digest)
        ]
        if not found:
            raise _refusal("The API key is not valid. Check it, or ask the operator of the server for one.")
        return found[0]

    def named(self, name: str) -> Principal | None:
        """Return whose key has a name, or None if there is no such key any more."""
        if self._anonymous is not None:
            return self._anonymous if name == ANONYMOUS else None
        self._reload()
        return next((found for found in self._principals.values() if found.name == name), None)

    def _reload(self) -> None:
        """Read the file again if it has changed. While it can't be used, the keys before it stay valid."""
        now, path = self._clock(), self._settings.api_keys
        if path is None or now < self._next_look:
            return
        self._next_look = now + RELOAD_SECONDS
        version = _version(path)
        if version == self._version:
            return
        self._version = version
        try:
            self._principals = self._read()
            logger.info("read %d API keys again, because their file has changed", len(self._principals))
        except StartupError as error:
            logger.error("%s; the API keys that were read before stay valid", error)

    def _read(self) -> Mapping[str, Principal]:
        settings = self._settings
        entries = {} if settings.api_keys is None else dict(read_key_file(settings.api_keys))
        if settings.api_key is not None:
            if SINGLE_KEY in entries:
                raise StartupError(f"--api-key has the name {SINGLE_KEY!r}: give the key of the file another")
            entries[SINGLE_KEY] = KeyEntry(sha256=digest_of(settings.api_key.get_secret_value()))
        return {entry.sha256: self._principal(name, entry) for name, entry in entries.items()}

    def _principal(self, name: str, entry: KeyEntry) -> Principal:
        rates = Rates(**{rate: getattr(entry, rate) for rate in RATES})
        return Principal(
            name=name,
            is_admin=entry.admin,
            settings=self._settings.model_copy(update=dict(entry.limits)),
            account=self._account(name, rates),
            salt=hashlib.blake2b(name.encode(), key=self._secret).digest(),
        )

    def _account(self, name: str, rates: Rates) -> Account:
        """Return the account of a key, which is the same one after its file was read again."""
        if name in self._accounts:
            self._accounts[name].change(rates)
        else:
            self._accounts[name] = Account(rates, self._clock, partial(self._report, name))
        return self._accounts[name]


def _version(path: Path | None) -> object:
    """Return what changes with a file's content, or None if there is no file."""
    try:
        status = None if path is None else os.stat(path)
    except OSError:
        return None
    return status and (status.st_mtime_ns, status.st_size, status.st_ino)


def _refusal(message: str) -> ApiError:
    return ApiError(message, status=401, code="invalid_api_key")
