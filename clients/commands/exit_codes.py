"""The exit codes of the commands that ask a server, and the one line that says what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from clients.sdk.errors import ClientError, InvalidRequest

from .printable import printable_line

FAILED = 1  # the server refused or failed, or can't be reached
USAGE = 2  # the command can't be carried out as it was given; typer's own errors have this code, too
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count


@contextmanager
def exit_codes(err: Console) -> Iterator[None]:
    """Turn errors into one line on standard error, and typer.Exit with the code that says whose fault it is.

    An OSError without a file's name is left: standard output may be a pipe that was closed.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        err.print(printable_line(f"error: can't read {error.filename}: {error.strerror}"), soft_wrap=True)
        raise typer.Exit(USAGE) from None
    except ClientError as error:
        err.print(printable_line(f"error: {error}"), soft_wrap=True)
        raise typer.Exit(USAGE if isinstance(error, InvalidRequest) else FAILED) from None
    except KeyboardInterrupt:
        err.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
