"""`int4`: linears, embeddings and memories in 4 bits, each with a scale for a group; activations in 8 bits."""

from dataclasses import replace

from spartanc.base.schemes.int4_memories import INT4_MEMORIES
from spartanc.base.schemes.int8 import INT8

INT4 = replace(
    INT4_MEMORIES,
    name="int4",
    gates="four_bits",
    labels_kept=0.975,  # half of what the gate permits to lose
    fp32_weights_in_one=8,
    wider=INT8,
)
