"""Report from an engine's process how far its start is."""

from typing import Any

from torch import nn
from vllm.config import VllmConfig

from model.start_phases import report_phase


class StartReport:
    """Reports the phases of one model's start: it is loading, compiling, and then warming."""

    def __init__(self, config: VllmConfig) -> None:
        """Report that the weights are being loaded."""
        self._title = "critic" if config.model_config.runner_type == "pooling" else "policy"
        self._compiles = bool(config.compilation_config.mode)
        report_phase(self._title, "loading")

    def loaded(self, model: nn.Module) -> None:
        """Report what follows the weights: the first forward pass compiles the model, or nothing does."""
        if not self._compiles:
            report_phase(self._title, "warming")
            return
        report_phase(self._title, "compiling")

        def end_of_first_pass(*_: Any) -> None:
            hook.remove()
            report_phase(self._title, "warming")

        hook = model.register_forward_hook(end_of_first_pass)
