"""Fixtures that more than one folder of tests uses."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import ImageFile

from tests.checkpoints import build_checkpoint, write_json
from tests.processors import processor_of
from tests.qwen_tokenizer import write_qwen_tokenizer
from tests.videos import CLIPS, FRAMES, Clip, write_video

ENGINE_SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; the default takes half of the machine
    "TORCH_COMPILE_DISABLE": "1",  # the sampler's compilation costs more than all its calls in a test
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def pytest_configure() -> None:
    """Nobody forces colours, and no example of a property fails because the machine is busy."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS"):
        os.environ.pop(name, None)
    settings.register_profile("without a clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("without a clock")


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Tiny models on a busy machine: threads that wait for each other made one test ten times slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def engine_env() -> dict[str, str]:
    """Environment of a process that starts a vLLM engine in a test."""
    return os.environ | ENGINE_SETTINGS


@pytest.fixture(scope="session")
def opengvlab_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random checkpoint as OpenGVLab publishes them."""
    return build_checkpoint(tmp_path_factory.mktemp("opengvlab"), "opengvlab")


@pytest.fixture(scope="session")
def transformers_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random checkpoint as transformers saves them, its output head tied to the embeddings."""
    return build_checkpoint(tmp_path_factory.mktemp("transformers"), "transformers", tied=True)


@pytest.fixture(scope="session")
def qwen_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real tokenizer of an InternVL3 with a Qwen2.5 backbone."""
    return write_qwen_tokenizer(tmp_path_factory.mktemp("qwen_tokenizer"), "InternVL3")


@pytest.fixture(scope="session")
def qwen_checkpoint(qwen_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random checkpoint with the real 151,674 tokens, and as published with the wrong eos or none.

    The tokenizer has no chat template, so the server uses that of the config.
    """
    folder = tmp_path_factory.mktemp("qwen")
    build_checkpoint(folder, "opengvlab", seed=5, tokenizer_files=qwen_tokenizer)
    config = json.loads((folder / "config.json").read_text())
    config["llm_config"] |= {"bos_token_id": 151643, "eos_token_id": 151643}
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"_from_model_config": True})
    return folder


@pytest.fixture(scope="session")
def qwen_processor(qwen_checkpoint: Path) -> Any:
    """vLLM's processing with our processor and the real vocabulary."""
    return processor_of(qwen_checkpoint)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The numbered video of a name in tests.videos.CLIPS, made when first asked for."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else write_video(path, FRAMES, **CLIPS[name])

    return make


@pytest.fixture
def decoded_images(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The formats of the images whose pixels Pillow has decoded in this process since the test began."""
    formats: list[str] = []
    prepare = ImageFile.ImageFile.load_prepare

    def counted(image: ImageFile.ImageFile) -> None:
        formats.append(str(image.format))
        prepare(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", counted)
    return formats
