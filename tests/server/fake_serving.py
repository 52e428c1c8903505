"""The program `internvl3 serve` with a fake engine, which starts in seconds.

Everything but the engine is real: flags, sockets, logs, signals and the exit status.
"""

import os
import sys

import server.launch
from clients.cli import main
from server.engine_interface import Engines
from server.settings import Settings
from tests.server.fakes import FakeCritic, FakeEngine, engines_of


async def start(settings: Settings) -> Engines:
    """Return engines whose policy answers `yes`, or, with the variable FAKE_ANSWER, something else."""
    answer = os.environ.get("FAKE_ANSWER", "yes")
    return engines_of(FakeEngine([answer], FakeCritic({answer: [0.5]})))


if __name__ == "__main__":
    server.launch._start = start
    main(["serve", *sys.argv[1:]])
