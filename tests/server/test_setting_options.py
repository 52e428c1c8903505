"""Every setting is an option of `internvl3 serve`, in the panel of its group, with values and default."""

import inspect
from typing import Any, Literal, get_args, get_origin

import pytest

from clients.cli import SUB_COMMANDS, load, main
from server.__main__ import serve
from server.settings import Settings, settings_groups
from tests.terminal import unwrapped

SERVE: Any = load(SUB_COMMANDS["serve"].target)
OPTIONS: dict[str, Any] = {option.name: option for option in SERVE.params}


def test_every_setting_has_a_flag_in_the_panel_of_its_group():
    panels = {name: OPTIONS[name].rich_help_panel for name in Settings.model_fields}
    assert panels == {name: group.title for group in settings_groups() for name in group.model_fields}
    assert set(OPTIONS) - set(Settings.model_fields) == {"config", "print_config"}
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in OPTIONS[name].opts


def test_a_setting_with_few_values_lists_them_in_its_help():
    limited = {
        name: get_args(field.annotation)
        for name, field in Settings.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    assert {"dtype", "on_critic_error", "log_level"} <= set(limited)
    parameters = inspect.signature(serve, eval_str=True).parameters
    for name, values in limited.items():
        kinds = get_args(get_args(parameters[name].annotation)[0])  # of Annotated[Literal[...] | None, ...]
        assert values in [get_args(kind) for kind in kinds]


def test_help_names_variable_and_default():
    assert OPTIONS["media_ports"].help.endswith("(INTERNVL3_MEDIA_PORTS) Default: 80,443")
    assert OPTIONS["critic"].help.endswith("(INTERNVL3_CRITIC)")
    assert OPTIONS["trust_special_tokens"].secondary_opts == ["--no-trust-special-tokens"]


def test_print_config_shows_what_flags_variables_and_file_give(tmp_path, capsys, monkeypatch):
    path = tmp_path / "settings.yaml"
    path.write_text("max_images: 5\nmax_videos: 5\napi_key: hush\n")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["serve", "--max-videos", "6", "--print-config", "--config", str(path)])
    shown = capsys.readouterr().out
    assert "\nmax_images: 5\n" in shown and "\nmax_videos: 6\n" in shown
    assert "hush" not in shown
    monkeypatch.setenv("INTERNVL3_CONFIG", str(path))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["serve", "--print-config"])
    assert "\nmax_images: 5\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port: Input should be less than or equal to 65535"),
        (["--config", "absent.yaml"], "can't read the settings in absent.yaml: No such file or directory"),
        (["--max-best-off", "3"], "--max-best-of"),
        (["--dtype", "float8"], "'float8' is not one of"),
    ],
)
def test_wrong_settings_end_the_start(arguments, message, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["serve", *arguments])
    assert message in unwrapped(capsys.readouterr().err)
