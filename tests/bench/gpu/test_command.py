"""The checks of a GPU run on a CPU with a tiny model, as far as a CPU can."""

import json
import subprocess
import sys

from bench.gpu.command import CHECKS
from bench.harness.contest import ROOT

ON_CPU = ("--device", "cpu", "--size", "tiny", "--tokens", "2048", "--tiles", "8")


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)


def test_all_checks_pass_on_a_cpu() -> None:
    done = python("-m", "bench.gpu", *ON_CPU)
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    results = json.loads(last)
    assert list(results) == list(CHECKS)
    assert [line.split(":")[0] for line in lines] == list(CHECKS)
    assert all(": passed" in line for line in lines)
    assert results["positions"]["largest_position"] > 1000
    assert results["attention"]["kernel"] == "one segment at a time"
    assert results["resume"]["largest_difference"] == 0 < results["resume"]["moved_in_a_step"]
    assert results["speed_and_memory"]["tokens_per_s"] > 0


def test_the_checks_need_no_vllm() -> None:
    code = "import sys, bench.gpu.command; print([n for n in ('vllm', 'fastapi') if n in sys.modules])"
    assert python("-c", code).stdout.strip() == "[]"
