"""torch.compile changes no answer, and compiles only the language model by default."""

import os
import shutil
from pathlib import Path

import pytest

from tests.model.engine_series import engine, furthest, questions, run_series, tokens

COMPILER = os.environ.get("CXX", "g++")
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        shutil.which(COMPILER) is None,
        reason=f"torch.compile on a CPU needs a C++ compiler, and there is no {COMPILER}",
    ),
]


def test_the_compiled_model_answers_as_the_eager_one(
    opengvlab_checkpoint: Path, engine_env: dict[str, str], tmp_path: Path
):
    requests = questions(tmp_path)
    engines = [
        engine(name, opengvlab_checkpoint, requests, enforce_eager=name == "eager")
        for name in ("eager", "compiled")
    ]
    (result,) = run_series(engines, tmp_path, engine_env | {"TORCH_COMPILE_DISABLE": "0"})
    assert tokens(result["compiled"]["answers"]) == tokens(result["eager"]["answers"])
    assert furthest(result["compiled"]["answers"], result["eager"]["answers"]) < 1e-3
    assert result["eager"]["compiled"] == 0
    assert (
        result["compiled"]["compiled"] == 1
    )  # The language model is one; the vision tower would add one for each layer.
