"""The seed of each candidate, derived from the seed of the request."""

from hashlib import blake2b

_BITS = 53  # every JSON reader keeps integers of this size


def candidate_seed(seed: int, index: int) -> int:
    """Return the seed with which a candidate, or a continuation of a search, is sampled.

    It is a hash of `seed` and `index`, so the candidates of two seeds share nothing. Candidate 0 has the seed
    itself if that isn't negative, so that one candidate is what a plain request with this seed would give.
    """
    if index == 0 and seed >= 0:
        return seed
    digest = blake2b(f"{seed} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _BITS)
