"""A model reports loading, compiling until its first forward pass has ended, and then warming."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from vllm.config import CompilationMode

from model.plugin.network.start_report import StartReport
from model.start_phases import FOLDER, read_phases


@pytest.mark.parametrize("runner", ["generate", "pooling"])
@pytest.mark.parametrize("mode", [CompilationMode.NONE, CompilationMode.VLLM_COMPILE])
def test_phases(mode, runner, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    title = "critic" if runner == "pooling" else "policy"
    config: Any = SimpleNamespace(
        model_config=SimpleNamespace(runner_type=runner), compilation_config=SimpleNamespace(mode=mode)
    )
    report = StartReport(config)
    assert read_phases(tmp_path, [title]) == {title: "loading"}
    model = nn.Linear(1, 1)
    report.loaded(model)
    compiles = mode != CompilationMode.NONE
    assert read_phases(tmp_path, [title]) == {title: "compiling" if compiles else "warming"}
    model(torch.zeros(1))
    assert read_phases(tmp_path, [title]) == {title: "warming"}
    assert not model._forward_hooks
