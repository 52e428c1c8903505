"""The console command lists its sub-commands without loading them, and loads the one that is called."""

import subprocess
import sys
from pathlib import Path

import pytest

from clients.cli import SUB_COMMANDS, find_bench, load, main
from tests.terminal import unwrapped


def run(*arguments: str) -> int | str | None:
    """Return the exit status of `internvl3 ARGUMENTS`, or the message that it exits with."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    return exit_.value.code


def test_help_lists_every_sub_command_and_loads_none() -> None:
    code = (
        "import sys\n"
        "from clients.cli import main\n"
        "sys.argv = ['internvl3', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'vllm', 'numpy', 'server', 'ttscaling', 'model', 'clients.commands.ask'}\n"
        "    print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "loaded: []" in shown
    for name, sub_command in SUB_COMMANDS.items():
        assert f"{name} {sub_command.help}" in unwrapped(shown)


def test_without_arguments_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "internvl3 serve" in capsys.readouterr().out


def test_the_error_for_an_unknown_sub_command_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serv") == 2
    shown = capsys.readouterr().err
    assert "No such command 'serv'" in shown
    assert "serve" in shown.split("No such command 'serv'")[1]
    assert "internvl3 --help" in shown


def test_a_sub_command_shows_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", "--help") == 0
    shown = capsys.readouterr().out
    assert "internvl3 ask" in shown
    assert "--best-of" in shown


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clients.commands.ask", None)  # how Python marks what can't be imported
    assert (
        run("ask", "hello")
        == "error: this command needs the Python package clients.commands.ask; make setup installs it"
    )


def test_bench_says_that_it_needs_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="from a checkout only"):
        find_bench(tmp_path)


@pytest.mark.parametrize("name", SUB_COMMANDS)
def test_every_sub_command_exists(name: str) -> None:
    assert load(SUB_COMMANDS[name].target).get_short_help_str()
