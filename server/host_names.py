"""The host names, addresses and networks that an operator writes into a setting."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network
HOST = re.compile(r"[\w.-]+|\[?[0-9a-fA-F:.]+\]?", re.ASCII)  # a name, or an address of either kind
# An entry and its port; the port of an IPv6 address follows a bracket, as in URLs.
WITH_PORT = re.compile(r"(?P<host>[^:\[\]]+|\[[^\[\]]+\]):(?P<port>\d{1,5})")
MAX_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class PrivateHost:
    """A host or a network that media may be fetched from although it isn't public, on one port or on all."""

    name: str  # in lower case; of a network its text
    network: Network | None  # an address is a network of one
    port: int | None

    def holds(self, host: str, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Return whether media may be fetched from this port of `address`, which `host` leads to."""
        is_named = host == self.name or (self.network is not None and address in self.network)
        return is_named and self.port in (None, port)


@lru_cache(maxsize=1024)
def private_host(entry: str) -> PrivateHost:
    """Return what an entry means: `name`, `address` or `network`, each also with `:port`.

    Raises ValueError for anything else.
    """
    match = WITH_PORT.fullmatch(entry)
    host, port = (match["host"].strip("[]"), int(match["port"])) if match else (entry, None)
    if port is not None and not 1 <= port <= MAX_PORT:
        raise ValueError(f"{entry} has no valid port; write one from 1 to {MAX_PORT}")
    if host == "*":
        raise ValueError("* is no host; name hosts or networks")
    name = checked_host(host)
    try:
        network = ip_network(name.strip("[]"))
    except ValueError:
        network = None
    return PrivateHost(name=name, network=network, port=port)


def checked_host(entry: str) -> str:
    """Return a host name in lower case, or a network or address as it is. Raises ValueError for others."""
    if "/" in entry:
        try:
            return str(ip_network(entry))
        except ValueError as error:
            raise ValueError(f"{entry} is no network ({error}); correct it") from None
    if entry != "*" and not HOST.fullmatch(entry):
        raise ValueError(f"{entry} is no host name: leave out scheme, port and path")
    return entry.lower()
