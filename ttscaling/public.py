"""The public names of the library: the methods, and the types that they take and return."""

from .methods.beam_search import beam_search
from .methods.beams import Beam
from .methods.best_of_n import best_of_n
from .methods.self_consistency import self_consistency
from .methods.weighted_vote import weighted_vote
from .selection.stopping import StopRule
from .types import (
    Candidate,
    Conversation,
    Critic,
    CriticError,
    Policy,
    PolicyError,
    Progress,
    ScoredCandidate,
    Selection,
    StepPolicy,
    StepScores,
    TokenUsage,
)
from .votes import Vote

__all__ = [
    "Beam",
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
    "StopRule",
    "TokenUsage",
    "Vote",
    "beam_search",
    "best_of_n",
    "self_consistency",
    "weighted_vote",
]
