"""`make setup` on a plain machine, on one with a GPU, and with a package index that fails.

Tiny wheels stand in for torch, uv and the rest. They come from package indexes on the loopback, so that pip
itself resolves, fetches and installs them.
"""

import contextlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

INSTALL = Path(__file__).parent.parent.parent / "requirements" / "install.py"
VERSION = "2.13.0"
CPU = "class version: cuda = None\n"
CUDA = "class version: cuda = '13.0'\n"
BROKEN = "raise ImportError('libcudart.so.13: cannot open shared object file')\n"
UV = """
import os, subprocess, sys
print("uv was called with", *sys.argv[1:])
python = sys.argv[sys.argv.index("--python") + 1]
pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
sys.exit(subprocess.run([*pip, "--index-url", os.environ["INDEX_OF_UV"], sys.argv[-1]]).returncode)
"""


class Index(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing to the tests' output."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder of wheels, in a folder for each package, and yield the address of the index."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def write_wheel(index: Path, name: str, version: str, source: str, *, command: str = "") -> None:
    """Add a wheel with one module to an index. `command` becomes a script beside Python."""
    (index / name).mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if command:
        files[f"{name}-{version}.data/scripts/{name}"] = f"#!python\n{command}"
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(index / name / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for file, text in (*files.items(), (f"{info}/RECORD", record)):
            entry = zipfile.ZipInfo(file)
            entry.external_attr = (0o100755 if "/scripts/" in file else 0o100644) << 16
            wheel.writestr(entry, text)


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "dev.txt").write_text(f"# a lock\nexample==1.0\ntorch=={VERSION}\n")
    (folder / "uv.txt").write_text("uv==0.1\n")
    return folder


def plain_index(folder: Path, torch: str) -> Path:
    """An index like PyPI, whose torch holds this source."""
    write_wheel(folder, "example", "1.0", "")
    write_wheel(folder, "torch", VERSION, torch)
    write_wheel(folder, "uv", "0.1", "", command=UV)
    return folder


def cpu_index(folder: Path) -> Path:
    """An index like PyTorch's, with one CPU wheel."""
    write_wheel(folder, "torch", f"{VERSION}+cpu", CPU)
    return folder


def run(*options: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program with nothing of this machine's pip settings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "TORCH_"))}
    plain |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "0"}
    # A driver on the machine of the tests must not count; its devices come by the option --devices.
    plain |= {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PIP_NO_CACHE_DIR": "1"}
    plain.pop("CUDA_VISIBLE_DEVICES", None)
    return subprocess.run(
        [sys.executable, INSTALL, *options],
        env=plain | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def torch_of(venv: Path) -> str:
    code = "import torch, importlib.metadata as m; print(m.version('torch'), torch.version.cuda)"
    return subprocess.check_output([venv / "bin/python", "-c", code], text=True).strip()


def setup(tmp_path: Path, locks: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "devices").mkdir(exist_ok=True)
    return run(tmp_path / "venv", "--locks", locks, "--devices", tmp_path / "devices", **variables)


def test_a_torch_for_a_gpu_is_replaced_from_the_index_that_the_variable_names(tmp_path: Path, locks: Path):
    with (
        served(plain_index(tmp_path / "plain", CUDA)) as plain,
        served(cpu_index(tmp_path / "pytorch")) as pytorch,
    ):
        result = setup(tmp_path, locks, PIP_INDEX_URL=plain, TORCH_INDEX_URL=pytorch)
    assert result.returncode == 0, result.stdout + result.stderr
    assert torch_of(tmp_path / "venv") == f"{VERSION}+cpu None"
    (line,) = [line for line in result.stdout.splitlines() if "CPU build" in line]
    assert f"torch {VERSION} is a CUDA build" in line and pytorch in line
    assert len(result.stdout.splitlines()) == 5 and "Collecting" not in result.stdout


def test_without_the_variable_uv_gets_it_from_pytorchs_own_index(tmp_path: Path, locks: Path):
    """The torch of this machine can't be imported, as PyPI's can't be without CUDA's libraries."""
    with (
        served(plain_index(tmp_path / "plain", BROKEN)) as plain,
        served(cpu_index(tmp_path / "pytorch")) as pytorch,
    ):
        result = setup(tmp_path, locks, PIP_INDEX_URL=plain, INDEX_OF_UV=pytorch)
    assert result.returncode == 0, result.stdout + result.stderr
    assert torch_of(tmp_path / "venv") == f"{VERSION}+cpu None"
    assert "does not import here (ImportError: libcudart.so.13" in result.stdout
    assert f"--torch-backend cpu --no-deps --reinstall torch=={VERSION}" in result.stdout
    assert not list((tmp_path / "venv").rglob("*/uv*")), "uv is gone afterwards"


def test_a_torch_that_works_stays(tmp_path: Path, locks: Path):
    with served(plain_index(tmp_path / "plain", CPU)) as plain:
        result = setup(tmp_path, locks, PIP_INDEX_URL=plain, TORCH_INDEX_URL="http://127.0.0.1:9/")
    assert result.returncode == 0, result.stdout + result.stderr
    assert torch_of(tmp_path / "venv") == f"{VERSION} None" and "CPU build" not in result.stdout


def test_a_failure_shows_pips_own_reason(tmp_path: Path, locks: Path):
    (locks / "dev.txt").write_text("missing==1.0\n")
    with served(plain_index(tmp_path / "plain", CPU)) as plain:
        result = setup(tmp_path, locks, PIP_INDEX_URL=plain)
    assert result.returncode != 0
    assert "No matching distribution found for missing==1.0" in result.stderr


def test_an_index_without_a_cpu_build_is_named_with_the_variable(tmp_path: Path, locks: Path):
    with served(plain_index(tmp_path / "plain", CUDA)) as plain:
        result = setup(tmp_path, locks, PIP_INDEX_URL=plain, TORCH_INDEX_URL=plain)
    assert result.returncode != 0
    assert f"No matching distribution found for torch=={VERSION}+cpu" in result.stderr
    assert result.stderr.rstrip().splitlines()[-1].startswith("set TORCH_INDEX_URL to")


def test_a_gpu_gets_the_cuda_locks(tmp_path: Path):
    (tmp_path / "nvidiactl").touch()
    cpu = run(tmp_path / "venv", "--devices", tmp_path, "--dry-run").stdout
    assert "no NVIDIA GPU" in cpu and "dev.txt" in cpu and "cuda.txt" not in cpu
    (tmp_path / "nvidia0").touch()
    cuda = run(tmp_path / "venv", "--devices", tmp_path, "--dry-run").stdout
    assert "an NVIDIA GPU" in cuda and "cuda.txt and train.txt and tools.txt" in cuda
    hidden = run(tmp_path / "venv", "--devices", tmp_path, "--dry-run", CUDA_VISIBLE_DEVICES="").stdout
    assert "dev.txt" in hidden
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(("answer", "gpu"), [("echo GPU 0: A card", True), ("exit 9", False)])
def test_a_gpu_without_a_device_file_is_found_by_nvidia_smi(tmp_path: Path, answer: str, gpu: bool):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{answer}\n")
    tool.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    result = run(tmp_path / "venv", "--devices", tmp_path / "none", "--dry-run", PATH=path)
    assert ("cuda.txt" in result.stdout) is gpu
