"""What a number of texts can say of a program: confidence intervals, and the rule that refuses by them.

A program may pass a gate of 99% by luck where few texts were tried, and a sound one may miss it. The rule, with how
often it errs, is in docs/validation.md; `benchmarks/gate_errors.py` computes the rates that stand there.
"""

from __future__ import annotations

import math

Interval = tuple[float, float]

CONFIDENCE = 0.95
NORMAL = 1.959964  # deviations to each side that hold so much of a normal distribution
ENOUGH_TEXTS = 300  # from here on the observed share itself is held to the gate
THIN_BELOW = 0.98  # evidence is thin where the true share of equal labels may be lower; for a gate of 0.99
FEW_TEXTS = 30  # of a class, which is then judged by FEW_TEXTS_GATE alone
FEW_TEXTS_GATE = 0.9
THIN_CORRELATION_BELOW = 0.998


def clopper_pearson(agreeing: int, texts: int) -> Interval:
    """Bounds of the true share where `agreeing` of `texts` agree: exact, two-sided, 95%. (0, 1) for no texts."""
    from scipy.stats import beta  # takes half a second to import

    if not 0 <= agreeing <= texts:
        raise AssertionError(f"{agreeing} of {texts}")
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, agreeing, texts - agreeing + 1)) if agreeing else 0.0
    high = float(beta.ppf(1 - tail, agreeing + 1, texts - agreeing)) if agreeing < texts else 1.0
    return low, high


def share_is_refused(agreeing: int, texts: int, gate: float) -> bool:
    """Whether the observed share misses `gate` on ENOUGH_TEXTS or more, or the 95% upper bound is below `gate`."""
    if texts >= ENOUGH_TEXTS and agreeing < gate * texts:
        return True
    return clopper_pearson(agreeing, texts)[1] < gate


def class_is_refused(agreeing: int, texts: int, gate: float) -> bool:
    """The same for one class; below FEW_TEXTS its gate is FEW_TEXTS_GATE at most."""
    return share_is_refused(agreeing, texts, gate if texts >= FEW_TEXTS else min(gate, FEW_TEXTS_GATE))


def loss_is_refused(lost: float, error: float, texts: int, allowed: float) -> bool:
    """Whether the observed loss is above `allowed` on ENOUGH_TEXTS or more, or even its 95% lower bound is.

    error: the standard error of `lost`, a mean over texts.
    """
    return (
        lost - (0 if texts >= ENOUGH_TEXTS else NORMAL * error) > allowed + 1e-9
    )  # a point of 1,000 texts is ten of them


def fisher(correlation: float, texts: int) -> Interval:
    """Bounds of the true correlation at 95%, by Fisher's transformation. (-1, 1) for fewer than 4 texts."""
    if texts < 4:
        return -1.0, 1.0
    if abs(correlation) >= 1:
        return correlation, correlation
    middle, width = math.atanh(correlation), NORMAL / math.sqrt(texts - 3)
    return math.tanh(middle - width), math.tanh(middle + width)
