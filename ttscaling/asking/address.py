"""Where requests go and with which headers, and the options that every command has for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from ttscaling.console import CommandError

BaseUrl = Annotated[str, typer.Option(help="The address of the running server.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="INTERNVL3_API_KEY",
        help="The API key. In the variable, other users of the machine can't see it.",
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME: VALUE", help="A further header of all requests; may be given several times."),
]
DEFAULT_URL = "http://127.0.0.1:8000"
HEADER = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:([ -~\t]*)")  # RFC 9110, sections 5.1 and 5.5


@dataclass(frozen=True)
class Address:
    """A server's address, with or without /v1, and the headers of all requests to it."""

    url: str
    headers: Mapping[str, str]


def address_of(base_url: str, api_key: str | None = None, headers: Sequence[str] | None = None) -> Address:
    """Return the address that a command's options name. A header wins over the key.

    Raises CommandError for a key or a line that is no header; its message quotes no value.
    """
    lines = [f"Authorization: Bearer {api_key.strip()}"] if api_key and api_key.strip() else []
    found: dict[str, str] = {}
    for line in [*lines, *(headers or ())]:
        header = HEADER.fullmatch(line)
        if header is None:
            raise CommandError("--api-key or --header holds no header: write 'Name: value' in ASCII")
        found[header[1].title()] = header[2].strip()
    return Address(base_url, found)
