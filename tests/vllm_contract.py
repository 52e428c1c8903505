"""What our code needs of vLLM's insides, and the sentence that says what of it a vLLM lacks."""

import inspect
import re
from dataclasses import dataclass
from importlib import import_module

import vllm


@dataclass(frozen=True, kw_only=True)
class Need:
    """A name of one of vLLM's classes, or a text in the sources of one of its modules.

    `parameters` are those that a method must have, in their order; None for anything but a method.
    """

    owner: str  # the path of a class, such as vllm.v1.engine.async_llm.AsyncLLM, or of a module
    name: str
    purpose: str  # completes "our code needs it to"
    parameters: tuple[str, ...] | None = None
    is_text: bool = False

    @property
    def problem(self) -> str | None:
        """A sentence that says what is missing; None if all is there."""
        try:
            missing = self._missing_text() if self.is_text else self._missing_name()
        except (ImportError, AttributeError):
            missing = f"has no {self.owner} any more"
        return missing and f"vLLM {vllm.__version__} {missing}; our code needs it to {self.purpose}."

    def _missing_text(self) -> str | None:
        source = inspect.getsource(import_module(self.owner))
        return None if self.name in source else f'writes "{self.name}" in {self.owner} no more'

    def _missing_name(self) -> str | None:
        module, _, name = self.owner.rpartition(".")
        owner = getattr(import_module(module), name)
        if not has_name(owner, self.name):
            return f"has no {self.owner}.{self.name} any more"
        if self.parameters is None:
            return None
        parameters = tuple(inspect.signature(getattr(owner, self.name)).parameters)[1:]
        if parameters[: len(self.parameters)] == self.parameters:
            return None
        return f"gives {self.owner}.{self.name} the parameters {parameters}, not {self.parameters}"


def has_name(owner: type, name: str) -> bool:
    """Return whether objects of a class have an attribute: its class names it, or its methods set it."""
    if hasattr(owner, name):
        return True
    classes = [each for each in owner.__mro__ if each.__module__.startswith("vllm")]
    sets = re.compile(rf"\bself\.{re.escape(name)}\b(: [^=\n]+)? = ")
    return any(
        name in vars(each).get("__annotations__", {}) or sets.search(inspect.getsource(each))
        for each in classes
    )
