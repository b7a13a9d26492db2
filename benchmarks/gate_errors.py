"""How often the gate on labels errs: a sound program refused, a bad one accepted. Exact, from the binomial law.

    python benchmarks/gate_errors.py [--json]

`share` is the true share of texts on which a program gives eager's label; each cell is the chance that so many texts,
drawn at random, refuse it. The gate is 0.99. docs/validation.md shows the table.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from scipy.stats import binom

from spartanc.compiler.evidence import share_is_refused

GATE = 0.99
SHARES = (0.9999, 0.999, 0.995, 0.99, 0.98, 0.97, 0.95, 0.90)
TEXTS = (32, 100, 300, 500, 1000)


def refused(texts: int, share: float, gate: float = GATE) -> float:
    """The chance that a program with the true `share` is refused on `texts` texts."""
    agreeing = np.arange(texts + 1)
    # What is refused is refused with fewer agreeing texts too, so the first that is accepted says all.
    low, high = 0, texts
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if share_is_refused(middle, texts, gate) else (low, middle)
    return float(binom.pmf(agreeing[:low], texts, share).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rates = {str(share): {str(texts): refused(texts, share) for texts in TEXTS} for share in SHARES}
    if arguments.json:
        print(json.dumps({"gate": GATE, "refused": rates}, indent=1))
        return
    print("| true share | " + " | ".join(f"{texts:,} texts" for texts in TEXTS) + " |")
    print("|---|" + "---|" * len(TEXTS))
    for share, row in rates.items():
        print(f"| {float(share):.2%} | " + " | ".join(f"{100 * rate:.1f}%" for rate in row.values()) + " |")


if __name__ == "__main__":
    main()
