"""Seeded sampling on a CPU, where a prompt is computed in pieces.

vLLM 0.32 samples after every piece of a prompt, keeps the last sample only, and turns the request's generator
back by a CUDA generator's offset (`GPUModelRunner._bookkeeping_sync`). A CPU's generator has none and raises,
which ends the engine. Here its state is put back whole: a seed gives one answer however its prompt is cut.
"""

from functools import wraps
from typing import Any


def restore_generators(runner: type[Any]) -> None:
    """Mends a CPU model runner class of vLLM's, in place. Repeating is harmless."""
    if hasattr(runner, "_keeps_generators"):
        return
    sample, bookkeep = runner._sample, runner._bookkeeping_sync

    @wraps(sample)
    def sample_and_put_back(self: Any, *args: Any, **kwargs: Any) -> Any:
        states = {index: generator.get_state() for index, generator in _discarded(self).items()}
        output = sample(self, *args, **kwargs)
        for index, state in states.items():
            self.input_batch.generators[index].set_state(state)
        return output

    @wraps(bookkeep)
    def bookkeep_without(self: Any, *args: Any, **kwargs: Any) -> Any:
        discarded = _discarded(self)
        generators = self.input_batch.generators
        for index in discarded:
            del generators[index]
        try:
            return bookkeep(self, *args, **kwargs)
        finally:
            generators.update(discarded)

    runner._sample, runner._bookkeeping_sync = sample_and_put_back, bookkeep_without
    runner._keeps_generators = True


def _discarded(runner: Any) -> dict[int, Any]:
    """Generators, by place in the batch, of the requests whose sample will be thrown away."""
    mask = runner.discard_request_mask.np
    return {index: generator for index, generator in runner.input_batch.generators.items() if mask[index]}
