"""The checks of `internvl3 bench gpu` on a real GPU, with a model of InternVL3-1B's size."""

import pytest
import torch

from bench.gpu.command import CHECKS, in_a_process


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("check", CHECKS)
def test_a_check_passes(check: str) -> None:
    figures = in_a_process(check, ["--device", "cuda", "--size", "1B"])
    assert figures["passed"], figures
