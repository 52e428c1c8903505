"""What depends on the processes that a launcher started: who writes messages, and which GPUs stay idle."""

import os
import time
from collections.abc import Mapping

import typer

SECONDS_FOR_THE_MAIN_PROCESS = 5.0


def is_main_process(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this is the only process, or the first one that a launcher of torch's kind started."""
    return environment.get("RANK", "0") == "0"


def exit_with(
    error: Exception,
    *,
    environment: Mapping[str, str] = os.environ,
    wait: float = SECONDS_FOR_THE_MAIN_PROCESS,
) -> typer.Exit:
    """Print an error in one line, once for all processes, and return what ends the command with status 1.

    Most errors are the same in all processes. So the others wait before they print. If the main process has
    failed as well, the launcher ends them meanwhile. If only one of them has failed, its error is printed.
    """
    if is_main_process(environment):
        typer.echo(f"error: {error}", err=True)
    else:
        time.sleep(wait)
        typer.echo(f"error in process {environment['RANK']}: {error}", err=True)
    return typer.Exit(1)


def idle_gpus(kind: str, *, gpus: int, processes: int) -> str | None:
    """Return a warning if a machine has more GPUs than processes of the run, or None.

    Args:
        kind: the command of `internvl3 train`.
        gpus: number of GPUs that this process sees.
        processes: number of processes of the run on this machine. Each uses one GPU.
    """
    if gpus <= processes:
        return None
    return (
        f"warning: there are {gpus} GPUs and this run uses {processes}. To use all, start it with "
        f"`accelerate launch --config_file recipes/fsdp2.yaml --num_processes {gpus} -m ttscaling.train "
        f"{kind} ...`. To use only some, name them in CUDA_VISIBLE_DEVICES"
    )


def processes_here(processes: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of the run's processes on this machine; `processes` is that on all machines."""
    return int(environment.get("LOCAL_WORLD_SIZE", processes))
