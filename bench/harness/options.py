"""Read the options that several benchmarks have."""

import typer


def positive_numbers(text: str, option: str) -> list[int]:
    """Return the numbers of an option like `1,8,32`. Raises typer.BadParameter if it is no such list."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        message = f"{text!r} is no list of numbers: write numbers from 1 with commas, as in 4,8,16"
        raise typer.BadParameter(message, param_hint=option)
    return numbers
