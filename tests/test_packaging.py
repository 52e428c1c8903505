"""The wheel: exactly our four packages with the nano weights, and it works away from the repository."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("server", "model", "ttscaling", "clients")
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "shared")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since setuptools leaves its build folder in the source."""
    source = shutil.copytree(ROOT, tmp_path_factory.mktemp("build") / "source", ignore=NOT_SOURCE)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source / "dist", source],
        check=True,
        capture_output=True,
    )
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", target, wheel], check=True)
    return target


def run_in(site: Path, code: str) -> str:
    """What `code` prints in an interpreter that finds our packages in `site` only, started from elsewhere."""
    # -P keeps the current folder off the path; the entry in front hides the editable install.
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=site.parent, check=True, capture_output=True, text=True
    )
    return result.stdout.strip().splitlines()[-1]


def test_wheel_holds_exactly_our_packages(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    expected = {
        str(file.relative_to(ROOT)) for package in PACKAGES for file in (ROOT / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == expected


def test_wheel_holds_the_nano_checkpoints(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for role in ("policy", "critic"):
        files = [file for file in (ROOT / "model/nano" / role).rglob("*") if file.is_file()]
        assert any(file.suffix == ".safetensors" for file in files), role
        assert {str(file.relative_to(ROOT)) for file in files} <= names


def test_licence_travels(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_command_runs_from_the_wheel(installed: Path):
    loaded = "from importlib.metadata import distribution as d"
    pick = "next(e for e in d('internvl3-serving').entry_points if e.name == 'internvl3' and e.group == {!r})"
    command = run_in(installed, f"{loaded}\nprint({pick.format('console_scripts')}.load().__module__)")
    assert command == "clients.cli"
    file = run_in(installed, "import clients.cli; print(clients.cli.__file__)")
    assert file.startswith(str(installed))


@pytest.mark.engine
def test_vllm_finds_the_plugin_in_the_wheel(installed: Path):
    """vLLM only logs a plugin that fails to load, so ask its registry whose class it will take."""
    code = """
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm import ModelRegistry
print([ModelRegistry.models[name].module_name
       for name in ("InternVLChatModel", "InternVLForConditionalGeneration")])
"""
    assert run_in(installed, code) == "['model.internvl', 'model.internvl']"
