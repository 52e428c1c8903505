"""A real PostgreSQL for tests, in a temporary folder and on a loopback port that is its own."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

SERVERS = Path("/usr/lib/postgresql")  # where Debian installs each version
NO_ROOT = "nobody"  # PostgreSQL refuses to run as root


def programs() -> Path:
    """Return the folder with the programs of the newest PostgreSQL, or skip the test if there is none."""
    found = sorted(SERVERS.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("Debian's package postgresql is not installed")
    return found[-1].parent


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Start a PostgreSQL, yield the URL of an empty database, and stop it."""
    folder = programs()
    user = NO_ROOT if os.geteuid() == 0 else None
    # Not pytest's folder: another user must be able to enter it, and a socket's path must be short.
    place = Path(tempfile.mkdtemp(prefix="internvl3-pg-", dir="/tmp"))
    port = free_port()
    try:
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(place, account.pw_uid, account.pw_gid)
        data = place / "data"
        common: dict[str, Any] = {"user": user, "cwd": place}
        common["env"] = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        initdb = [folder / "initdb", "-D", data, "-U", "internvl3", "--auth=trust", "--encoding=UTF8"]
        subprocess.run([*map(str, initdb), "--no-sync"], check=True, capture_output=True, **common)
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(place), "-c", "fsync=off"]
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(
                [folder / "postgres", "-D", data, *options], stdout=log, stderr=log, **common
            )
        try:
            ready = [str(folder / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-d", "postgres"]
            while subprocess.run(ready, check=False).returncode != 0:
                assert server.poll() is None, (place / "log").read_text()
            yield f"postgresql://internvl3@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # it ends without waiting for its clients
            server.wait()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def new_database(url: str) -> str:
    """Create an empty database beside the one of a URL, and return its URL."""
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{url.rpartition('/')[0]}/{name}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
