"""A head without its offer of another protocol is the same request, which httptools reads whole."""

from typing import Any

import httptools
import pytest

from server.http.heads import check_host, check_size, without_upgrade


class Read:
    def __init__(self, raw: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = self.body = b""
        self.is_kept = False
        self.parser: Any = httptools.HttpRequestParser(self)
        self.parser.feed_data(raw)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_kept = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body


@pytest.mark.parametrize("connection", [b"Upgrade", b"Upgrade, Close", b"keep-alive,upgrade"])
def test_only_the_offer_is_taken_out(connection: bytes):
    kept = [(b"host", b"localhost"), (b"content-length", b"2"), (b"x-a", b"1"), (b"x-a", b"2")]
    offer = [(b"upgrade", b"h2c"), (b"connection", connection), (b"http2-settings", b"AAEA")]
    read = Read(without_upgrade(b"POST", b"/a?b=c", [*kept[:2], *offer, *kept[2:]]) + b"hi")
    assert (read.parser.get_method(), read.url, read.body) == (b"POST", b"/a?b=c", b"hi")
    assert [header for header in read.headers if header[0] != b"connection"] == kept
    assert not read.parser.should_upgrade()
    assert read.is_kept == (b"Close" not in connection)


def test_what_a_server_like_this_one_refuses():
    host = (b"host", b"localhost")
    check_host(b"GET", "1.1", [host])
    check_host(b"GET", "1.0", [])
    check_size(10, 10)
    with pytest.raises(ValueError, match="Host"):
        check_host(b"GET", "1.1", [])
    with pytest.raises(ValueError, match="Host"):
        check_host(b"GET", "1.0", [host, host])
    with pytest.raises(ValueError, match="proxies"):
        check_host(b"CONNECT", "1.1", [host])
    with pytest.raises(ValueError, match="more than 10 bytes"):
        check_size(11, 10)
