"""Make a virtual environment from the locks beside this file: `python3 install.py FOLDER`.

On a machine with an NVIDIA GPU it takes the locks for CUDA, elsewhere the one for a CPU. Most package indexes
have torch as its CUDA build only. Without a GPU that build is replaced with the CPU build of the same
version, from PyTorch's own index or from TORCH_INDEX_URL. This file needs only Python's standard library.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

CPU_LOCKS = ("dev.txt",)
CUDA_LOCKS = ("cuda.txt", "train.txt", "tools.txt")
BAR_WIDTH = 30
CHANGE_INDEX = "set TORCH_INDEX_URL to an index of CPU wheels of torch that this machine reaches"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("venv", type=Path, help="the folder of the environment")
    parser.add_argument("--locks", type=Path, default=Path(__file__).parent, help="the folder of the locks")
    parser.add_argument("--devices", type=Path, default=Path("/dev"), help="the folder of the device files")
    parser.add_argument("--dry-run", action="store_true", help="only print which locks would be taken")
    options = parser.parse_args()
    gpu = has_nvidia_gpu(options.devices)
    locks = [options.locks / name for name in (CUDA_LOCKS if gpu else CPU_LOCKS)]
    names = " and ".join(lock.name for lock in locks)
    say(f"this machine has {'an' if gpu else 'no'} NVIDIA GPU, so it gets what is in {names}")
    if options.dry_run:
        return
    say(f"making {options.venv} with Python {sys.version.split()[0]}")
    run([sys.executable, "-m", "venv", str(options.venv)])
    install(options.venv, locks)
    if gpu:
        run([str(options.venv / "bin/python"), "-c", "import torch"])
    else:
        ensure_cpu_torch(options.venv, pins(locks)["torch"], options.locks / "uv.txt")


def has_nvidia_gpu(devices: Path) -> bool:
    """Return whether the driver shows a GPU as a device file or, as under WSL, only through nvidia-smi.

    An empty CUDA_VISIBLE_DEVICES hides all GPUs, here as well as from CUDA.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if any(devices.glob("nvidia[0-9]*")):
        return True
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and listed.stdout.startswith("GPU ")


def pins(locks: Sequence[Path]) -> dict[str, str]:
    """Return the version of every package in these locks."""
    lines = [line for lock in locks for line in lock.read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def install(venv: Path, locks: Sequence[Path]) -> None:
    """Install the locks with pip. Meanwhile a terminal shows a bar; what pip prints goes to setup.log."""
    log = venv / "setup.log"
    command = [str(venv / "bin/pip"), "install", "--no-deps", "--progress-bar", "off"]
    for lock in locks:
        command += ["-r", str(lock)]
    begun, total = time.monotonic(), len(pins(locks))
    say(f"installing {total} packages (what pip prints goes to {log})")
    with log.open("wb") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while pip.poll() is None:
            show_bar(venv, log, total)
            time.sleep(0.2)
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    if pip.returncode != 0:
        sys.exit(reason_of(log.read_text(errors="replace")))
    say(f"installed them in {time.monotonic() - begun:.0f} s")


def show_bar(venv: Path, log: Path, total: int) -> None:
    """Draw how many packages pip has fetched, and how many of them it has then put in their place."""
    if not sys.stdout.isatty():
        return
    fetched = len(
        re.findall(rb"^(?:Collecting|Processing|Requirement already satisfied)", log.read_bytes(), re.M)
    )
    placed = len(list(venv.glob("lib/python*/site-packages/*.dist-info")))
    done = fetched + placed if fetched >= total else fetched
    filled = min(BAR_WIDTH, BAR_WIDTH * done // (2 * total))
    step = f"fetched {fetched}" if fetched < total else f"installed {min(placed, total)}"
    print(f"\r[{'#' * filled:<{BAR_WIDTH}}] {step} of {total}\033[K", end="", flush=True)


def reason_of(log: str) -> str:
    """Return what pip printed from its first error on, or its last lines if it named none."""
    lines = log.splitlines()
    errors = [number for number, line in enumerate(lines) if line.strip().lower().startswith("error")]
    return "\n".join(lines[errors[0] :] if errors else lines[-20:])


def ensure_cpu_torch(venv: Path, version: str, uv_lock: Path) -> None:
    """Replace a torch that needs a GPU or that can't be imported by the CPU build of the same version."""
    problem = torch_problem(venv)
    if problem is None:
        return
    index = os.environ.get("TORCH_INDEX_URL")
    source = index or "PyTorch's own index"
    say(f"torch {version} {problem}: installing its CPU build from {source}")
    if index:
        pip = [str(venv / "bin/pip"), "install", "--quiet", "--no-deps", "--force-reinstall"]
        run([*pip, "--index-url", index, f"torch=={version}+cpu"], hint=CHANGE_INDEX)
    else:
        fetch_with_uv(venv, version, uv_lock)
    if (problem := torch_problem(venv)) is not None:
        sys.exit(f"torch {version} from {source} {problem}; {CHANGE_INDEX}")


def fetch_with_uv(venv: Path, version: str, uv_lock: Path) -> None:
    """Install the CPU build of torch with uv, which knows PyTorch's index, and which is gone afterwards."""
    with TemporaryDirectory() as folder:
        run(
            [str(venv / "bin/pip"), "install", "--quiet", "--target", folder, "--no-deps", "-r", str(uv_lock)]
        )
        uv = [f"{folder}/bin/uv", "pip", "install", "--quiet", "--python", str(venv / "bin/python")]
        command = [*uv, "--torch-backend", "cpu", "--no-deps", "--reinstall", f"torch=={version}"]
        run(command, hint=CHANGE_INDEX)


def torch_problem(venv: Path) -> str | None:
    """Return what is wrong with the environment's torch on a machine without a GPU; None if it works."""
    code = "import torch; print(torch.version.cuda)"
    python = str(venv / "bin/python")
    tried = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        reason = (tried.stderr.strip() or f"it ends with status {tried.returncode}").splitlines()[-1]
        return f"does not import here ({reason})"
    return None if tried.stdout.strip() == "None" else "is a CUDA build"


def run(command: Sequence[str], hint: str = "") -> None:
    """Run a command. If it fails, it has printed why, and this program ends with the hint or the status."""
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        sys.exit(hint or status)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
