"""`int8`: keys and values of memories, linears (activations row by row) and embeddings in int8; parents in fp32."""

from spartanc.base.schemes.none import NONE
from spartanc.base.schemes.scheme import Scheme

INT8 = Scheme(
    name="int8",
    gates="quantized",
    peak="int8",
    labels_kept=0.995,
    fp32_weights_in_one=4,
    wider=NONE,
    task_sizes={
        "logit_weights": {0: "parent_blocks"},
        "key_cells": {0: "cell_blocks"},
        "key_scales": {0: "cell_columns"},
        "value_cells": {1: "cell_blocks"},
        "value_scales": {0: "cell_columns"},
    },
)
