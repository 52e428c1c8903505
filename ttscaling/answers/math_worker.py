"""The process behind `MathVerifier`: pairs of formulas in, one JSON line each; verdicts out.

Only LaTeX is parsed, by math-verify's grammar: its other reader goes through Python's eval. Started as
`python -m ttscaling.answers.math_worker MEMORY_MIB`.
"""

import json
import logging
import resource
import sys
from collections.abc import Sequence
from typing import Any

from math_verify import parse, verify
from math_verify.parser import LatexExtractionConfig


def main() -> None:
    """Says "ready", then answers until its input ends."""
    limit = int(sys.argv[1]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    logging.disable(logging.CRITICAL)
    print("ready", flush=True)
    for line in sys.stdin:
        answer, known = json.loads(line)
        print(json.dumps(same(answer, known)), flush=True)


def same(answer: str, known: str) -> bool:
    """math-verify's verdict; what it can't read or compare is different."""
    try:  # no timeouts of its own: they are signals, and C code doesn't notice them
        wanted, given = _read(known), _read(answer)
        return bool(wanted and given and verify(wanted, given, timeout_seconds=None))
    except Exception:  # whatever sympy makes of a model's writing
        return False


def _read(formula: str) -> Sequence[Any]:
    bare = formula.strip().strip("$")
    found: Sequence[Any] = parse(f"${bare}$", [LatexExtractionConfig()], parsing_timeout=None)
    return found


if __name__ == "__main__":
    main()
