"""The head of an HTTP request: what is refused in it, and the reply to what is no HTTP."""

from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case

ABOUT_ANOTHER_PROTOCOL = (b"upgrade", b"http2-settings", b"connection")


def check_size(size: int, most: int) -> None:
    """Raise ValueError if a head of `size` bytes is larger than `most`."""
    if size > most:
        raise ValueError(f"The head of the request has more than {most} bytes")


def check_host(method: bytes, version: str, headers: Headers) -> None:
    """Raise ValueError for what is HTTP, but not for a server like this one (RFC 9110, 7.2 and 9.3.6)."""
    if method == b"CONNECT":
        raise ValueError("The method CONNECT is for proxies")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and not hosts):
        raise ValueError("A request needs exactly one Host header")


def without_upgrade(method: bytes, target: bytes, headers: Headers) -> bytes:
    """Return the head of an HTTP/1.1 request that doesn't offer another protocol."""
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    lines += [b"%b: %b" % header for header in headers if header[0] not in ABOUT_ANOTHER_PROTOCOL]
    options = b",".join(value for name, value in headers if name == b"connection").lower().split(b",")
    if b"close" in (option.strip() for option in options):
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def refusal(body: bytes) -> bytes:
    """Return a whole reply with status 400 and this JSON."""
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    return head + b"connection: close\r\n\r\n" + body
