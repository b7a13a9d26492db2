"""`int4`: linears, embeddings and memories in 4 bits; square layers that a task of a fleet brings stay in int8.

ExecuTorch has no operator for these in 4 bits, and a task's other linear gives the logits.
"""

from dataclasses import replace

from spartanc.passes.quantize_embeddings import QuantizeEmbeddings
from spartanc.passes.schemes.int4_memories import INT4_MEMORIES
from spartanc.passes.weight_grids import INT4 as INT4_GRID

INT4 = replace(INT4_MEMORIES, linears=INT4_GRID, embeddings=lambda stock: [QuantizeEmbeddings(stock=stock, bits=4)])
