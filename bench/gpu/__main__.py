"""Run the checks of a GPU as `python -m bench.gpu`, without the packages of the other benchmarks."""

import typer

from .command import gpu

if __name__ == "__main__":
    typer.run(gpu)
