"""Settings come from flags, then variables, then a file, and an error names where the wrong value is."""

from pathlib import Path

import pytest
import yaml

from server.errors import StartupError
from server.setting_sources import read_settings, settings_text, unknown_variables
from server.settings import Settings, settings_groups
from tests.server.apps import settings


def config(folder: Path, text: str) -> Path:
    """Write a settings file."""
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(tmp_path, monkeypatch):
    path = config(
        tmp_path, "port: 1\nmax_best_of: 1\nmax-answers: 1\nmedia_ports: [1, 2]\nallowed_hosts: a, b\n"
    )
    monkeypatch.setenv("INTERNVL3_PORT", "2")
    monkeypatch.setenv("INTERNVL3_MAX_BEST_OF", "2")
    read = read_settings({"port": 3}, path)
    assert (read.port, read.max_best_of, read.max_answers, read.max_images) == (3, 2, 1, 32)
    assert read.media_ports == (1, 2) and read.allowed_hosts == ("a", "b")


def test_what_is_printed_is_read_again(tmp_path):
    chosen = settings(
        policy="ö: #1",
        system_message="none",
        adapters="a=/x, b=/y",
        api_keys="keys.toml",
        media_ports="1,2",
        trust_special_tokens=True,
        critic_seconds=0.5,
        policy_args="--seed 3 " + "word " * 50,
    )
    assert read_settings({}, config(tmp_path, settings_text(chosen))) == chosen
    assert list(yaml.safe_load(settings_text(Settings()))) == [
        name for group in settings_groups() for name in group.model_fields
    ]


def test_secrets_are_not_printed(tmp_path):
    text = settings_text(settings(api_key="hush"))
    assert "hush" not in text and "# api_key is set, but it is a secret: set INTERNVL3_API_KEY" in text
    assert read_settings({}, config(tmp_path, text)).api_key is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_best_off: 3", "max_best_off is no setting; did you mean max_best_of?"),
        ("max-best-off: 3", "max-best-off is no setting; did you mean max_best_of?"),
        ("qqq: 3", "qqq is no setting; docs/settings.md lists all of them"),
        ("config: a.yaml", "config is no setting"),
        ("1: 2", "1 is no setting"),
        ("port: 1\nport: 2", "port is written twice; remove one"),
        ("max-images: 1\nmax_images: 2", "max_images is written twice"),
        ("port: 70000", "port: Input should be less than or equal to 65535"),
        ("tls_cert: a.crt", "--tls-cert and --tls-key belong together"),
        ("port: [1]", "port: Input should be a valid integer"),
        ("adapters: [a]", "adapters: a is not of the form NAME=FOLDER"),
        ("- port", "are no mapping"),
        ("port", "are no mapping"),
        ("port: [1", "are no YAML file: while parsing"),
        ("a: !!python/name:os.system", "are no YAML file"),
    ],
)
def test_a_file_that_cant_be_used_is_refused(tmp_path, text, message):
    with pytest.raises(StartupError) as raised:
        read_settings({}, config(tmp_path, text))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_cant_be_read_is_refused(tmp_path):
    with pytest.raises(StartupError, match=r"can't read the settings in .*: No such file or directory"):
        read_settings({}, tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(StartupError, match="are no YAML file"):
        read_settings({}, tmp_path / "latin.yaml")


def test_an_empty_file_sets_nothing(tmp_path):
    assert read_settings({}, config(tmp_path, "# nothing\n")) == Settings()


def test_an_error_names_the_flag_or_the_variable(tmp_path, monkeypatch):
    with pytest.raises(StartupError, match=r"^--max-best-of: Input should be greater"):
        read_settings({"max_best_of": 0}, config(tmp_path, "max_best_of: 5"))
    monkeypatch.setenv("INTERNVL3_MAX_BEST_OF", "0")
    with pytest.raises(StartupError, match=r"^INTERNVL3_MAX_BEST_OF: Input should be greater"):
        read_settings({}, config(tmp_path, "max_best_of: 5"))


def test_a_variable_that_is_no_setting_is_named():
    environment = {"INTERNVL3_MAX_BEST_OFF": "3", "INTERNVL3_PORT": "1", "INTERNVL3_CONFIG": "a", "PATH": "/"}
    assert unknown_variables(environment) == [
        "the variable INTERNVL3_MAX_BEST_OFF is no setting; did you mean INTERNVL3_MAX_BEST_OF?"
    ]
