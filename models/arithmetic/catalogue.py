"""All arithmetics, by name."""

from __future__ import annotations

from spartanc.models.arithmetic.arithmetic import Arithmetic

ARITHMETICS = ("fp32", "int8", "int4")


def find_arithmetic(name: str) -> Arithmetic:
    """By the name that `--arithmetic` takes; KeyError where there is none."""
    # Where they are asked for: what rounds as programs do takes seconds to import, and settings need names alone.
    if name == "fp32":
        from spartanc.models.arithmetic.fp32 import FP32

        return FP32
    from spartanc.models.arithmetic.int4 import INT4
    from spartanc.models.arithmetic.int8 import INT8

    return {INT8.name: INT8, INT4.name: INT4}[name]
