"""A discarded sample leaves the generator of its request unchanged, on a stand-in for vLLM's runner.

tests/server/test_video_end_to_end.py tests the same with the engine.
"""

from types import SimpleNamespace

import numpy as np
import torch
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from model.plugin.network.cpu_sampling import restore_generators

KEPT, DISCARDED = 0, 1


class Runner:
    """A runner that draws with every generator, and sets back those of discarded samples as vLLM does."""

    def __init__(self, discard: tuple[bool, ...]) -> None:
        generators = {index: torch.Generator().manual_seed(7) for index in range(len(discard))}
        self.input_batch = SimpleNamespace(generators=generators)
        self.discard_request_mask = SimpleNamespace(np=np.array([*discard, False]))

    def _sample(self, high: int) -> list[int]:
        draws = self.input_batch.generators.values()
        return [int(torch.randint(high, (), generator=generator)) for generator in draws]

    def _bookkeeping_sync(self, output: list[int]) -> list[int]:
        for index in np.nonzero(self.discard_request_mask.np)[0]:
            generator = self.input_batch.generators.get(int(index))
            if generator is not None:
                generator.set_offset(generator.get_offset() - 4)
        return output


def test_discarded_samples_take_nothing_from_their_generator():
    restore_generators(Runner)
    restore_generators(Runner)
    runner = Runner((False, True))
    first = runner._bookkeeping_sync(runner._sample(2**31))
    assert first[KEPT] == first[DISCARDED], "the same seed"
    second = runner._bookkeeping_sync(runner._sample(2**31))
    assert second[DISCARDED] == first[DISCARDED], "as if it had not been drawn"
    assert second[KEPT] != first[KEPT]
    assert sorted(runner.input_batch.generators) == [KEPT, DISCARDED]


def test_vllm_still_has_the_methods_that_are_repaired():
    assert callable(GPUModelRunner._sample) and callable(GPUModelRunner._bookkeeping_sync)


def test_another_runner_stays_as_it_is_and_the_log_says_so(caplog):
    class Renamed:
        def _sample(self): ...

    before = dict(vars(Renamed))
    restore_generators(Renamed)
    assert dict(vars(Renamed)) == before
    assert len(caplog.records) == 1
    assert caplog.text.count("vLLM's Renamed isn't the one that we repair") == 1
