"""`int4-memories`: keys and values of memories in 4 bits, a scale for every 32; the rest as in `int8`."""

from dataclasses import replace

from spartanc.base.schemes.int8 import INT8

INT4_MEMORIES = replace(
    INT8,
    name="int4-memories",
    task_sizes={
        "logit_weights": {0: "parent_blocks"},
        "key_cells": {0: "cell_blocks"},
        "key_scales": {0: "cell_blocks"},
        "value_cells": {1: "cell_blocks"},
        "value_scales": {0: "cell_columns"},
    },
    hidden_multiple=32,  # of one scale: `INT4_GROUP` of the operator
    stock_forms=False,  # stock operators hold memories in fp32, and nothing else of it is 4 bits wide
)
