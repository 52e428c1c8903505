"""The process behind `MathVerifier`: it reads pairs of formulas and writes a verdict for each.

Each pair and each verdict is one line of JSON. Formulas are read only as LaTeX, by math-verify's grammar,
because its other reader goes through Python's eval. `MathVerifier` starts this file as
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
    """Write "ready", then a verdict for each pair until the input ends."""
    limit = int(sys.argv[1]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    logging.disable(logging.CRITICAL)
    print("ready", flush=True)
    for line in sys.stdin:
        answer, known = json.loads(line)
        print(json.dumps(same(answer, known)), flush=True)


def same(answer: str, known: str) -> bool:
    """Return math-verify's verdict; formulas that it can't read or compare are different."""
    try:  # math-verify's timeouts are off, because they are signals and C code doesn't notice them
        right_formulas, formulas = _read(known), _read(answer)
        return bool(right_formulas and formulas and verify(right_formulas, formulas, timeout_seconds=None))
    except Exception:  # sympy can raise anything on what a model wrote
        return False


def _read(formula: str) -> Sequence[Any]:
    bare = formula.strip().strip("$")
    expressions: Sequence[Any] = parse(f"${bare}$", [LatexExtractionConfig()], parsing_timeout=None)
    return expressions


if __name__ == "__main__":
    main()
