"""The addresses of a URL's host that the server may connect to.

The host is resolved once, and all its addresses must be allowed. The connection goes to a checked address
itself, so a second, different DNS answer has no effect.
"""

import asyncio
import socket
from concurrent.futures import Executor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from server.settings import Settings

from .failures import MediaError

# These addresses lead to IPv4 addresses, private ones among them, or to hosts of the same site: NAT64 of both
# prefixes, addresses that hold an IPv4 address ("compatible", SIIT), and the old site-local ones.
DISGUISES = [
    IPv6Network(network)
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96", "fec0::/10")
]
CLOUD_INSIDE = IPv4Address("168.63.129.16")  # Azure's wire server: public by its number, not by its use
Address = IPv4Address | IPv6Address


async def allowed_addresses(
    url: httpx.URL, kind: str, param: str, settings: Settings, lookups: Executor
) -> list[Address]:
    """Return all addresses of the URL's host, in the order in which the system prefers them.

    Args:
        url: an http(s) URL.
        kind: "image" or "video", for error messages.
        param: the field of the request, for error messages.
        settings: the ports of public hosts, and the hosts that aren't public.
        lookups: the threads that look up host names.

    Raises:
        MediaError: 400, if any address of the host, or the port, is not allowed.
    """
    port = url.port or (443 if url.scheme == "https" else 80)
    look_up = partial(socket.getaddrinfo, url.host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(lookups, look_up)
    except OSError:
        found = []
    addresses = [ip_address(entry[4][0]) for entry in found if "%" not in str(entry[4][0])]
    public = [
        address
        for address in addresses
        if not any(entry.holds(url.host, address, port) for entry in settings.private_hosts)
    ]
    if not addresses or not all(is_public(address) for address in public):
        # Unknown and private hosts get the same message, so that it doesn't tell which private hosts exist.
        raise MediaError(
            f"The host {url.host[:100]} has no public address. "
            f"Use a public URL, or send the {kind} inline as a data: URL.",
            kind=kind,
            reason="host",
            param=param,
            detail=f"{url.host[:100]} has no public address",
        )
    if public and port not in settings.media_ports:
        ports = " and ".join(map(str, settings.media_ports))
        raise MediaError(
            f"The {kind}'s URL names port {port}, but media are fetched from the ports {ports} alone. "
            f"Use such a URL, or send the {kind} inline as a data: URL.",
            kind=kind,
            reason="port",
            param=param,
        )
    return addresses


def is_public(address: Address) -> bool:
    """Return whether an address is public. A private IPv4 address inside an IPv6 address is not public."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is not None:
            return is_public(inner)
        if address.sixtofour is not None or address.teredo is not None:
            return False
        if any(address in network for network in DISGUISES):
            return False
    return address.is_global and not address.is_multicast and address != CLOUD_INSIDE
