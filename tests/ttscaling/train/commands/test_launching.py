"""Messages of several processes, GPUs that stay idle, and the commands of the launcher."""

from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from ttscaling.train.commands.launching import exit_with, idle_gpus, is_main_process, processes_here

ROOT = Path(__file__).parents[4]


def test_only_the_first_process_is_the_main_one() -> None:
    assert is_main_process({})
    assert is_main_process({"RANK": "0", "LOCAL_RANK": "0"})
    assert not is_main_process({"RANK": "8", "LOCAL_RANK": "0"})


def test_an_error_of_another_process_alone_is_printed_with_its_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_with(ValueError("no"), environment={}).exit_code == 1
    assert capsys.readouterr().err == "error: no\n"
    exit_with(ValueError("no"), environment={"RANK": "3"}, wait=0)
    assert capsys.readouterr().err == "error in process 3: no\n"


def test_idle_gpus_are_named_with_the_command_that_uses_them() -> None:
    assert idle_gpus("critic", gpus=0, processes=1) is None
    assert idle_gpus("critic", gpus=1, processes=1) is None
    assert idle_gpus("critic", gpus=8, processes=8) is None
    warning = idle_gpus("critic", gpus=8, processes=1)
    assert warning is not None
    assert "8 GPUs and this run uses 1" in warning
    assert "--num_processes 8 -m ttscaling.train critic" in warning


def test_processes_of_other_machines_are_not_counted() -> None:
    assert processes_here(1, {}) == 1
    assert processes_here(16, {"LOCAL_WORLD_SIZE": "8"}) == 8


@pytest.mark.parametrize("processes", [1, 4, 8])
def test_the_launcher_reads_the_command_of_the_warning(processes: int) -> None:
    command = f"--config_file {ROOT}/recipes/fsdp2.yaml --num_processes {processes} -m ttscaling.train critic"
    options, *_ = _validate_launch_command(launch_command_parser().parse_args(command.split()))
    assert options.num_processes == processes
    assert (options.use_fsdp, options.fsdp_version, options.mixed_precision) == (True, 2, "bf16")
    assert (options.module, options.training_script) == (True, "ttscaling.train")
