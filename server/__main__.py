"""The command `internvl3 serve`, which is also `python -m server`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import StartupError
from .launch import Stopped, end_at_once, run
from .setting_groups.group import VARIABLES
from .setting_options import with_options_of_settings
from .setting_sources import CONFIG, read_settings, settings_text


@with_options_of_settings
def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            help=f"YAML file with settings, under the names of the flags. ({VARIABLES}{CONFIG.upper()})",
            envvar=VARIABLES + CONFIG.upper(),
            show_envvar=False,
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print all settings as a file for --config, without secrets, and don't start the server.",
        ),
    ] = False,
    **options: Any,
) -> None:
    """Serve InternVL3 behind OpenAI's API, with Best-of-N scored by a process reward critic.

    Without options, the server runs the embedded nano checkpoints, which need no GPU.
    Its address is http://127.0.0.1:8000/v1. Ask about one of the example sheets in another shell:

    internvl3 ask "What is the sum of row 1?" --image sheet.png --best-of 8

    The name in parentheses behind an option is the environment variable that sets it, too. A flag wins
    over its variable, and a variable over the file of --config.
    """
    try:
        settings = read_settings(
            {field: value for field, value in options.items() if value is not None}, config
        )
    except StartupError as error:
        raise typer.BadParameter(str(error)) from None
    if print_config:
        typer.echo(settings_text(settings), nl=False)
        return
    try:
        status = run(settings)
    except Stopped as stopped:
        status = stopped.status
    end_at_once(status)


if __name__ == "__main__":
    typer.run(serve)
