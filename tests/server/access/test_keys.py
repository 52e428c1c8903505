"""Whose key a request has brought, also after the file has changed."""

import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.access.key_file import digest_of
from server.access.keys import ANONYMOUS, Keys
from server.errors import ApiError, StartupError
from tests.server.apps import settings
from tests.server.running import command
from ttscaling.types import TokenUsage


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, **limits: str) -> Path:
    """Write a file with a key for each name, which is `key of NAME`, and these further lines."""
    tables = [
        f'[keys.{name}]\nsha256 = "{digest_of(f"key of {name}")}"\n{lines}\n'
        for name, lines in limits.items()
    ]
    path.write_text("".join(tables))
    return path


def keys_of(clock: Clock | None = None, **chosen: Any) -> Keys:
    return Keys(settings(**chosen), lambda name, usage: None, clock or Clock())


def refused(keys: Keys, presented: str | None) -> ApiError:
    with pytest.raises(ApiError) as error:
        keys.find(presented)
    assert (error.value.status, error.value.code) == (401, "invalid_api_key")
    return error.value


def test_without_keys_everybody_is_the_same_and_nothing_is_salted():
    keys = keys_of()
    principal = keys.find(None)
    assert principal.name == ANONYMOUS and keys.find("any") is principal
    assert principal.cache_salt(None) is None and principal.cache_salt("own") == "own"


def test_a_key_is_found_by_its_digest(tmp_path: Path):
    keys = keys_of(api_keys=write(tmp_path / "keys", a="max_best_of = 3", b="admin = true"))
    a, b = keys.find("key of a"), keys.find("key of b")
    assert (a.name, a.is_admin, a.settings.max_best_of) == ("a", False, 3)
    assert (b.name, b.is_admin, b.settings.max_best_of) == ("b", True, 64)
    for presented in ("key of c", "", "key of a ", digest_of("key of a"), "\udcff", "schlüssel"):
        assert "not valid" in refused(keys, presented).message
    assert "Authorization: Bearer" in refused(keys, None).message


def test_one_key_in_the_settings(tmp_path: Path):
    keys = keys_of(api_key="only", api_keys=write(tmp_path / "keys", a=""))
    assert keys.find("only").name == "default" and keys.find("key of a").name == "a"
    assert "only" not in repr(settings(api_key="only"))
    with pytest.raises(StartupError, match="--api-key has the name 'default'"):
        keys_of(api_key="only", api_keys=write(tmp_path / "keys", default=""))


def test_each_key_has_a_salt_of_its_own(tmp_path: Path):
    keys = keys_of(api_keys=write(tmp_path / "keys", a="", b=""))
    a, b = keys.find("key of a"), keys.find("key of b")
    salts = {principal.cache_salt(chosen) for principal in (a, b) for chosen in (None, "own", "other")}
    assert len(salts) == 6 and a.cache_salt("own") == a.cache_salt("own")
    assert a.cache_salt(3) == 3, "the engine refuses it"
    again = keys_of(api_keys=tmp_path / "keys")
    assert again.find("key of a").cache_salt(None) not in salts, "nobody can compute it from outside"


def test_a_changed_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    clock, path = Clock(), write(tmp_path / "keys", a="requests_per_minute = 1", b="")
    keys = keys_of(clock, api_keys=path)
    before = keys.find("key of a")
    before.account.begin()
    write(path, a="requests_per_minute = 1", c="")
    assert keys.find("key of b").name == "b", "the file is looked at once a second"
    clock.now += 1.5
    refused(keys, "key of b")
    after = keys.find("key of a")
    assert keys.find("key of c").name == "c"
    assert after.account is before.account and after.cache_salt(None) == before.cache_salt(None)
    with pytest.raises(ApiError, match="1 requests a minute"):
        after.account.begin()
    path.write_text("[keys.broken")
    clock.now += 1.5
    with caplog.at_level(logging.ERROR, "internvl3.server"):
        assert keys.find("key of c").name == "c"
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"the API keys in {path} are no TOML file"
    ]
    os.remove(path)
    clock.now += 1.5
    assert keys.find("key of c").name == "c", "a file that is being replaced takes nobody's key away"


def test_a_server_with_unusable_keys_ends_with_one_line(tmp_path: Path):
    started = subprocess.run(
        command("--api-keys", str(tmp_path / "none.toml")), capture_output=True, text=True, check=False
    )
    assert started.returncode == 1
    (line,) = started.stderr.splitlines()
    assert line.startswith("internvl3: can't read the API keys in ") and "No such file" in line


def test_tokens_are_reported_by_name(tmp_path: Path):
    reported: list[tuple[str, TokenUsage]] = []
    keys = Keys(
        settings(api_keys=write(tmp_path / "keys", a="")), lambda *count: reported.append(count), Clock()
    )
    keys.find("key of a").account.count(TokenUsage(prompt=2))
    assert reported == [("a", TokenUsage(prompt=2))]
