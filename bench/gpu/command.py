"""Check training on one GPU in less than ten minutes, without vLLM (`internvl3 bench gpu`)."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
import typer

from bench.harness.contest import ROOT

from .models import Size
from .precision import Figures, attention, positions
from .steps import resume, speed_and_memory

CHECKS: Mapping[str, Callable[[str, Size, int, int], Figures]] = {
    "positions": positions,
    "attention": attention,
    "resume": resume,
    "speed_and_memory": speed_and_memory,
}
_TIME_LIMIT = 300


def gpu(
    device: Annotated[str, typer.Option(help="cuda, or cpu for what runs without a GPU.")] = "cuda",
    size: Annotated[Size, typer.Option(help="1B, or tiny for a CPU. The weights are random.")] = "1B",
    tokens: Annotated[int, typer.Option(min=1024, help="Tokens of a pack.")] = 16384,
    tiles: Annotated[int, typer.Option(min=2, help="Tiles of a pack.")] = 48,
    check: Annotated[str | None, typer.Option(help="Run one check in this process, and print JSON.")] = None,
) -> None:
    """Check what only a GPU shows of training: precision, attention kernels, memory, resuming, speed.

    Each check has a process of its own. The status is 1 if one fails. The last line is a JSON object.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("there is no GPU: use --device cpu --size tiny --tokens 2048 --tiles 8")
    if check is not None:
        typer.echo(json.dumps(CHECKS[check](device, size, tokens, tiles)))
        return
    options = ["--device", device, "--size", size, "--tokens", str(tokens), "--tiles", str(tiles)]
    results = {}
    for name in CHECKS:
        results[name] = in_a_process(name, options)
        word = "passed" if results[name]["passed"] else "FAILED"
        figures = {key: value for key, value in results[name].items() if key != "passed"}
        typer.echo(
            f"{name}: {word}  " + "  ".join(f"{key} {_shown(value)}" for key, value in figures.items())
        )
    typer.echo(json.dumps(results))
    raise typer.Exit(not all(result["passed"] for result in results.values()))


def in_a_process(check: str, options: Sequence[str]) -> Figures:
    """Return the figures of a check that runs in a process of its own, with these options."""
    command = [sys.executable, "-m", "bench.gpu", *options, "--check", check]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIME_LIMIT, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return {"passed": False, "error": f"it took longer than {_TIME_LIMIT} s"}
    if process.returncode:
        return {"passed": False, "error": process.stderr.strip().splitlines()[-1:]}
    figures: Figures = json.loads(process.stdout.strip().splitlines()[-1])
    return figures


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
