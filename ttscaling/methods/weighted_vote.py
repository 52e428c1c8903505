"""Weighted vote: N answers, each final answer weighing the sum of its candidates' scores.

"Weighted best-of-N" of Snell et al. (arXiv 2408.03314) and of search-and-learn.
"""

from functools import partial

from ttscaling.selection.choosing import weighted_best

from .best_of_n import BestOfN

weighted_vote = partial(BestOfN, pick=weighted_best)
"""As `BestOfN`, but each final answer weighs the sum of its scores; the best candidate of the winner is it.

A tie goes to the answer given first. `stop.agreement` ends it when the leading answer is sure enough to stay
ahead.
"""
