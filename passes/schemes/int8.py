"""`int8`: memories with a scale for each cell, int8 linears and embeddings, attention in half precision."""

from functools import partial

from spartanc.passes.ops.packing import pack_int8
from spartanc.passes.quantize_embeddings import QuantizeEmbeddings
from spartanc.passes.quantize_head import QuantizeHead
from spartanc.passes.quantize_memories import CellForm, QuantizeMemories
from spartanc.passes.relax_attention import RelaxAttention
from spartanc.passes.schemes.scheme_passes import SchemePasses
from spartanc.passes.weight_grids import INT8 as INT8_GRID

INT8_CELLS = CellForm(bits=8, overload="int8", pack=pack_int8)
INT8 = SchemePasses(
    memories=partial(QuantizeMemories, INT8_CELLS),
    linears=INT8_GRID,
    embeddings=lambda stock: [QuantizeEmbeddings(stock=stock)],
    attention=lambda stock: [] if stock else [RelaxAttention()],
    head=lambda task_names: [QuantizeHead(task_names)],
)
