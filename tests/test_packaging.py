"""The wheel holds our four packages with the nano weights and works elsewhere; the locks agree."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
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


def plain_name(requirement: str) -> str:
    """The distribution that a requirement names, as locks spell it."""
    return re.split(r"[<>=!~;\[ ]", requirement)[0].replace("_", "-").lower()


def imported(file: Path) -> set[str]:
    """Top-level names that a file imports absolutely."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def lock(name: str) -> dict[str, str]:
    """Name to version. Every line is a comment or a pin: no index, address, path or hash."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+(\[[a-z0-9,-]+\])?==[\w.]+", line)] == []
    return {plain_name(line): line.split("==")[1] for line in pins}


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
    assert {top for top in tops if not top.endswith(".dist-info")} == {*PACKAGES, "internvl3_vllm.py"}
    expected = {
        str(file.relative_to(ROOT)) for package in PACKAGES for file in (ROOT / package).rglob("*.py")
    } | {"internvl3_vllm.py"}
    assert {name for name in names if name.endswith(".py")} == expected


def test_wheel_holds_the_nano_checkpoints(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        str(file.relative_to(ROOT)) for file in (ROOT / "model/nano").rglob("*") if file.is_file()
    } <= names
    for role in ("policy", "critic"):
        assert {f"model/nano/{role}/config.json", f"model/nano/{role}/model.safetensors"} <= names


def test_every_import_is_declared():
    """In pyproject.toml, as an extra where it is one; torch and vLLM are the locks' business, see there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    training = {plain_name(entry) for entry in extras.pop("train")}
    declared = {
        plain_name(entry) for entries in (project["dependencies"], *extras.values()) for entry in entries
    }
    in_training = declared | training
    providers = packages_distributions()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            allowed = (
                in_training
                if {"train", "evaluation", "nano_tasks", "reports"} & set(file.parts)
                else declared
            )
            for module in imported(file) - {"torch", "vllm", *PACKAGES, *sys.stdlib_module_names}:
                # An extra that isn't installed here, such as Ray, is known by the name of its module.
                names = providers.get(module, [module])
                assert {plain_name(name) for name in names} & allowed, f"{file}: {module}"


def test_the_client_needs_only_what_every_installation_has():
    """`pip install internvl3-serving` is the client; everything else is an extra or comes from the locks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {plain_name(entry) for entry in project["dependencies"]}
    providers = packages_distributions()
    client = ROOT / "clients"
    for file in (client / "cli.py", *(client / "sdk").rglob("*.py"), *(client / "commands").glob("*.py")):
        for module in imported(file) - {*PACKAGES, *sys.stdlib_module_names}:
            assert {plain_name(name) for name in providers[module]} & installed, f"{file}: {module}"


def test_locks_agree():
    """Whatever two locks both pin, they pin alike, so that one can be installed on top of another."""
    locks = {name: lock(name) for name in ("cpu", "cuda", "train", "tools", "clients", "dev")}
    # vLLM's two builds pin this one differently.
    locks["cuda"].pop("apache-tvm-ffi")
    for pins in locks.values():
        shared = pins.keys() & locks["dev"].keys()
        assert {name: pins[name] for name in shared} == {name: locks["dev"][name] for name in shared}
    assert locks["cpu"].keys() <= locks["dev"].keys()
    assert locks["train"].keys() <= locks["dev"].keys()
    # On a GPU machine, `make check` and `make test` need the same tools.
    with_gpu = locks["cuda"].keys() | locks["train"].keys() | locks["tools"].keys()
    assert locks["dev"].keys() - locks["cpu"].keys() <= with_gpu


@pytest.mark.parametrize("name", ["cpu", "train", "tools", "dev"])
def test_cpu_locks_hold_nothing_of_cuda(name: str):
    """Beside a CPU torch these break `import transformers`, or weigh gigabytes for nothing."""
    unwanted = re.compile("(nvidia|cuda)-.*|triton|torch(vision|audio|codec)")
    assert [package for package in lock(name) if unwanted.fullmatch(package)] == []


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
    assert run_in(installed, code) == "['model.plugin.network.internvl', 'model.plugin.network.internvl']"
