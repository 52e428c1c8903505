"""Small Contenders for the tests of the bench."""

import sys
import time
from collections.abc import Mapping
from typing import Any


class Spin:
    """Use `case["cpu"]` seconds of CPU time while `case["mib"]` MiB of memory are held."""

    def prepare(self, case: Mapping[str, Any]) -> Mapping[str, Any]:
        return case

    def work(self, prepared: Mapping[str, Any]) -> int:
        print("a system may print")
        held = bytearray(int(prepared.get("mib", 0) * 2**20))
        until = time.process_time() + prepared["cpu"]
        while time.process_time() < until:
            pass
        return len(held)

    def summary(self, result: int) -> int:
        return result


class SpinTwice(Spin):
    def work(self, prepared: Mapping[str, Any]) -> int:
        return super().work(prepared) + super().work(prepared)


class Unimportable(Spin):
    def __init__(self) -> None:
        import a_package_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401


class Fails(Spin):
    def work(self, prepared: Mapping[str, Any]) -> int:
        raise ValueError("no such codec\nand a second line")


class Dies(Spin):
    def work(self, prepared: Mapping[str, Any]) -> int:
        sys.exit(3)
