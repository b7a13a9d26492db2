"""`int4-memories`: memories in 4 bits with a scale for every 32 of a cell; the rest as in `int8`."""

from dataclasses import replace
from functools import partial

from spartanc.passes.ops.memory_lookup import INT4_GROUP
from spartanc.passes.ops.packing import pack_int4
from spartanc.passes.quantize_memories import CellForm, QuantizeMemories
from spartanc.passes.schemes.int8 import INT8

INT4_CELLS = CellForm(bits=4, overload="int4", pack=pack_int4, group=INT4_GROUP)
INT4_MEMORIES = replace(INT8, memories=partial(QuantizeMemories, INT4_CELLS))
