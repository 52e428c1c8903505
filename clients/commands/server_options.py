"""The options of every command that asks a server: its address, the API key, and headers."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

BaseUrl = Annotated[str, typer.Option(help="Address of the server.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="INTERNVL3_API_KEY",
        show_envvar=True,
        help="API key. In the variable, other users of the machine can't see it.",
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME: VALUE", help="A further header of all requests; may be given several times."),
]


def headers_of(lines: Sequence[str] | None) -> Mapping[str, str]:
    """Return the headers in lines of the form `Name: value`. Raises typer.BadParameter."""
    headers = {}
    for line in lines or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter("write a header as 'Name: value'", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers
