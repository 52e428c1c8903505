"""torch.compile changes no answer, and leaves the vision tower alone unless it is asked for."""

import os
import shutil
from pathlib import Path

import pytest

from tests.model.engine_series import engine, furthest, questions, run_series, tokens

COMPILER = os.environ.get("CXX", "g++")
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        shutil.which(COMPILER) is None, reason=f"torch.compile on a CPU needs a C++ compiler: no {COMPILER}"
    ),
]


def test_the_compiled_model_answers_as_the_eager_one(
    opengvlab_checkpoint: Path, engine_env: dict[str, str], tmp_path: Path
):
    asked = questions(tmp_path)
    engines = [
        engine(name, opengvlab_checkpoint, asked, enforce_eager=name == "eager")
        for name in ("eager", "compiled")
    ]
    (result,) = run_series(engines, tmp_path, engine_env | {"TORCH_COMPILE_DISABLE": "0"})
    assert tokens(result["compiled"]["answers"]) == tokens(result["eager"]["answers"])
    assert furthest(result["compiled"]["answers"], result["eager"]["answers"]) < 1e-3
    assert result["eager"]["compiled"] == 0
    assert result["compiled"]["compiled"] == 1  # the language model; a tower would count by its layers
