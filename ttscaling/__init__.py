"""Test-time scaling as a library: the methods, and the types that they take and return.

A name is loaded when it is first used, so that `import ttscaling` and the modules below it stay fast.
"""

TYPE_CHECKING = False  # type checkers take it as True; the import of `typing` would cost a millisecond
if TYPE_CHECKING:
    from .methods.beam_search import Beam as Beam
    from .methods.beam_search import beam_search as beam_search
    from .methods.best_of_n import best_of_n as best_of_n
    from .methods.self_consistency import self_consistency as self_consistency
    from .methods.weighted_vote import weighted_vote as weighted_vote
    from .selection.stopping import StopRule as StopRule
    from .types import Candidate as Candidate
    from .types import Conversation as Conversation
    from .types import Critic as Critic
    from .types import CriticError as CriticError
    from .types import Policy as Policy
    from .types import PolicyError as PolicyError
    from .types import Progress as Progress
    from .types import ScoredCandidate as ScoredCandidate
    from .types import Selection as Selection
    from .types import StepPolicy as StepPolicy
    from .types import StepScores as StepScores
    from .types import TokenUsage as TokenUsage

_MODULES = {
    "methods.beam_search": ("Beam", "beam_search"),
    "methods.best_of_n": ("best_of_n",),
    "methods.self_consistency": ("self_consistency",),
    "methods.weighted_vote": ("weighted_vote",),
    "selection.stopping": ("StopRule",),
    "types": (
        "Candidate",
        "Conversation",
        "Critic",
        "CriticError",
        "Policy",
        "PolicyError",
        "Progress",
        "ScoredCandidate",
        "Selection",
        "StepPolicy",
        "StepScores",
        "TokenUsage",
    ),
}
__all__ = sorted(name for names in _MODULES.values() for name in names)


def __getattr__(name: str) -> object:
    """Load a public name from its file. Raises AttributeError for other names."""
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            public: object = getattr(import_module(f"{__name__}.{module}"), name)
            return public
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
