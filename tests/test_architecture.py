"""The import contracts of pyproject.toml hold, and each catches what it is there for."""

import ast
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("server", "model", "ttscaling", "clients", "bench")


def lint_imports(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages to plant forbidden imports in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=lambda _, names: skip(names))
    return tmp_path


def skip(names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__" or name.endswith((".safetensors", ".png"))]


def test_contracts_hold():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


PLANTED = [
    ("packages", "model/v2pe.py", "import ttscaling.types"),
    ("packages", "ttscaling/steps.py", "import server"),
    ("model", "model/images/tiling.py", "import model.checkpoint.config"),
    ("model", "model/video/file.py", "import model.plugin.architectures"),
    ("plugin", "model/plugin/inputs/processor.py", "import model.plugin.network.rotary"),
    ("server", "server/services/chat.py", "import server.http.app"),
    ("server", "server/services/chat.py", "import server.vllm_engine.start"),
    ("seam", "server/http/app.py", "import server.vllm_engine.start"),
    (
        "engine-kinds",
        "server/vllm_engine/policy/window.py",
        "import server.vllm_engine.critic.label_reader",
    ),
    ("server", "server/media/fetch.py", "import server.services.chat"),
    ("server-http", "server/services/chat.py", "import fastapi"),
    ("server-http", "ttscaling/planted.py", "import fastapi"),
    ("ttscaling", "ttscaling/records/jsonl.py", "import ttscaling.train.settings.kinds"),
    ("ttscaling", "ttscaling/train/run/job.py", "import ttscaling.evaluation.cli"),
    ("training", "ttscaling/train/network/internvl.py", "import ttscaling.train.run.loop"),
    ("nano", "ttscaling/train/nano/stages/policy.py", "import ttscaling.train.nano.pipeline"),
    (
        "evaluation-families",
        "ttscaling/evaluation/curves/plot.py",
        "import ttscaling.evaluation.nano.command",
    ),
    ("one-arrow-to-training", "ttscaling/evaluation/pools.py", "import ttscaling.train.run.job"),
    ("library", "server/launch.py", "import ttscaling.records.jsonl"),
    ("clients", "clients/cli.py", "import model"),
    ("clients-layers", "clients/sdk/client.py", "import clients.commands.ask"),
    ("sdk", "clients/sdk/sending/retry.py", "import clients.sdk.client"),
    (
        "video-jobs",
        "clients/video_jobs/frames/look.py",
        "import clients.video_jobs.strategies.window",
    ),
    ("no-callers", "server/launch.py", "import clients"),
    ("bench", "model/v2pe.py", "import bench.harness.report"),
    ("bench-layers", "bench/harness/report.py", "import bench.video.clip"),
    ("vllm", "server/services/chat.py", "import vllm"),
    ("vllm", "model/checkpoint/config.py", "import vllm"),
    ("torch", "model/__init__.py", "import torch"),
    ("torch", "model/images/tiling.py", "import torch"),
    ("torch", "ttscaling/selection/plan.py", "import torch"),
    ("one-place", "server/services/chat.py", "import sqlalchemy"),
    ("one-place", "ttscaling/steps.py", "import opentelemetry"),
    ("one-place", "clients/cli.py", "import ray"),
]


@pytest.mark.parametrize(("contract", "file", "line"), PLANTED)
def test_a_planted_import_is_caught(copy: Path, contract: str, file: str, line: str):
    with (copy / file).open("a") as source:
        source.write(f"\n{line}\n")
    result = lint_imports(copy, "--contract", contract)
    assert result.returncode == 1, result.stdout
    assert "BROKEN" in result.stdout


PUBLIC = ("ttscaling/__init__.py", "ttscaling/remote/__init__.py", "clients/sdk/__init__.py")


def test_every_contract_has_a_planted_import():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert {contract["id"] for contract in settings["contracts"]} == {contract for contract, _, _ in PLANTED}


def test_package_inits_are_empty_but_for_public_names():
    """Three of them give public names, which come from their own folder."""
    for package in PACKAGES:
        for init in (ROOT / package).rglob("__init__.py"):
            if str(init.relative_to(ROOT)) not in PUBLIC:
                assert init.read_text() == "", init
                continue
            imports = [
                node for node in ast.walk(ast.parse(init.read_text())) if isinstance(node, ast.ImportFrom)
            ]
            assert all(node.level == 1 or node.module == "importlib" for node in imports), init


@pytest.mark.parametrize(
    ("package", "names"),
    [("ttscaling", "ttscaling.public"), ("ttscaling.remote",) * 2, ("clients.sdk",) * 2],
)
def test_public_names_are_what_their_files_define(package: str, names: str):
    public = import_module(names).__all__
    assert public == sorted(public)
    assert all(getattr(import_module(package), name).__name__ == name for name in public)
    with pytest.raises(AttributeError):
        import_module(package).no_such_name  # noqa: B018


def test_importing_the_library_loads_nothing():
    """`import ttscaling` stands before every import of its modules, in the server too."""
    code = (
        "import sys; before = set(sys.modules); import ttscaling; print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["ttscaling"]


def test_every_folder_of_tests_is_a_package():
    """Otherwise pytest makes tests/model importable as `model` and shadows ours."""
    for test in (ROOT / "tests").rglob("*.py"):
        assert (test.parent / "__init__.py").exists(), test


def test_docker_and_deploy_are_no_packages():
    """With an __init__.py, docker/ would shadow the Docker SDK."""
    assert not list((ROOT / "docker").rglob("*.py"))
    assert not list((ROOT / "deploy").rglob("*.py"))
