"""`int4`: keys and values of memories in 4 bits, a scale for every 32; the rest as in `int8`."""

from spartanc.base.schemes.scheme import Scheme

INT4 = Scheme(
    name="int4",
    gates="quantized",
    peak="int8",
    fp32_weights_in_one=4,  # of what is not a memory, which is most of a program
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
