"""The file of the API keys: what it may hold, and what an operator reads if it holds something else."""

from pathlib import Path

import pytest

from server.access.key_file import digest_of, read_key_file
from server.errors import StartupError

DIGEST = digest_of("secret")


def written(folder: Path, text: str) -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    return path


def test_a_key_has_rates_and_replaces_settings(tmp_path: Path):
    text = f"""
        # A key for the nightly reports.
        [keys.reports]
        sha256 = "{DIGEST}"
        requests_per_minute = 60
        max_best_of = 4
        max_images = 0

        [keys.ops]
        sha256 = "{digest_of("other")}"
        admin = true
    """
    keys = read_key_file(written(tmp_path, text))
    assert list(keys) == ["reports", "ops"]
    assert keys["reports"].requests_per_minute == 60 and not keys["reports"].admin
    assert keys["reports"].limits == {"max_best_of": 4, "max_images": 0}
    assert keys["ops"].admin and not keys["ops"].limits


def test_the_digest_is_that_of_the_usual_tools():
    """`printf secret | sha256sum` prints it."""
    assert DIGEST == "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keys = 3", r"keys: Input should be a valid dictionary"),
        ("[keys.a]", r"keys\.a\.sha256: Field required"),
        ('[keys.a]\nsha256 = "secret"', r"keys\.a\.sha256: String should match"),
        (f'[keys.a]\nsha256 = "{DIGEST}"\nmax_bestof = 3', r"keys\.a\.max_bestof: Extra inputs"),
        (f'[keys.a]\nsha256 = "{DIGEST}"\nrequests_per_minute = 0', r"requests_per_minute: .* greater than"),
        (f'[keys.a]\nsha256 = "{DIGEST}"\nadmin = "yes"', r"keys\.a\.admin: Input should be a valid boolean"),
        (f'[keys."a b"]\nsha256 = "{DIGEST}"', r"'a b' is no name"),
        (f'[keys.a]\nsha256 = "{DIGEST}"\n[keys.b]\nsha256 = "{DIGEST}"', r"two names have the same sha256"),
        ("keys: {}", r"are no TOML file"),
        ("", r"keys: Field required"),
    ],
)
def test_a_mistake_is_one_line(text: str, message: str, tmp_path: Path):
    with pytest.raises(StartupError, match=message) as refusal:
        read_key_file(written(tmp_path, text))
    assert "\n" not in str(refusal.value) and DIGEST not in str(refusal.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(StartupError, match=r"can't read the API keys in .*none\.toml: No such file"):
        read_key_file(tmp_path / "none.toml")
