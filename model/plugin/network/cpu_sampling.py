"""A repair of vLLM's seeded sampling on a CPU, for prompts that are computed in pieces.

vLLM 0.32 samples after every piece of a prompt and keeps only the last sample. For each discarded sample it
sets the request's generator back, by the offset of a CUDA generator (`GPUModelRunner._bookkeeping_sync`). A
CPU generator has no offset and raises an error that ends the engine. Here the full state of the generator is
restored, so a seed gives the same answer however the prompt is divided.
"""

import logging
from functools import wraps
from typing import Any


def restore_generators(runner: type[Any]) -> None:
    """Repair vLLM's class of CPU model runners in place; a second call changes nothing.

    A class without the two methods stays as it is, and the log says so.
    """
    if hasattr(runner, "_keeps_generators"):
        return
    sample, bookkeep = (getattr(runner, name, None) for name in ("_sample", "_bookkeeping_sync"))
    if sample is None or bookkeep is None:
        logging.getLogger("internvl3.sampling").warning(
            "vLLM's %s isn't the one that we repair. On a CPU a request with a seed may end the engine if "
            "its prompt is computed in pieces.",
            runner.__name__,
        )
        return

    @wraps(sample)
    def sample_and_restore(self: Any, *args: Any, **kwargs: Any) -> Any:
        states = {index: generator.get_state() for index, generator in _discarded(self).items()}
        output = sample(self, *args, **kwargs)
        for index, state in states.items():
            self.input_batch.generators[index].set_state(state)
        return output

    @wraps(bookkeep)
    def bookkeep_without_discarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        discarded = _discarded(self)
        generators = self.input_batch.generators
        for index in discarded:
            del generators[index]
        try:
            return bookkeep(self, *args, **kwargs)
        finally:
            generators.update(discarded)

    runner._sample, runner._bookkeeping_sync = sample_and_restore, bookkeep_without_discarded
    runner._keeps_generators = True


def _discarded(runner: Any) -> dict[int, Any]:
    """Return the generators of the requests whose sample is discarded, by their index in the batch."""
    mask = runner.discard_request_mask.np
    return {index: generator for index, generator in runner.input_batch.generators.items() if mask[index]}
