"""Planning of a program's memory in which our operators write over what they read.

before:  y = spartan::memory_lookup(x, ...), out in memory of its own   a position's row is read and another written
after:   y in x's memory, where nothing reads x any more                the row is in the cache when it is written

Our kernels for rows (the memory, LayerNorm with its residual) may write over their input. They do where the operator is
the last to read it in the order of execution, which is what ExecuTorch's planner goes by too.
"""

from __future__ import annotations

from executorch.exir.memory import alloc
from executorch.exir.passes import MemoryPlanningPass
from torch.fx import GraphModule, Node

ALIGNMENT = 64  # bytes: a cache line, and a register of AVX-512
# Operator: positions of the arguments that its result may take the memory of, the one that is warmest first.
_MAY_OVERWRITE = {
    "spartan::add_layer_norm": (0, 1),
    "spartan::memory_lookup": (0,),
}


class InPlacePlanning(MemoryPlanningPass):
    """ExecuTorch's planning, told which results share the memory of an argument."""

    def __init__(self, *, alloc_graph_input: bool) -> None:
        super().__init__(alloc_graph_input=alloc_graph_input, alignment=ALIGNMENT)

    def run(self, graph_module: GraphModule, graph_signature=None):
        order = {node: place for place, node in enumerate(graph_module.graph.nodes)}
        for node in order:
            if node.op != "call_function" or not hasattr(node.target, "_schema"):
                continue
            for argument in _MAY_OVERWRITE.get(node.target._schema.name, ()):
                if _is_last_reader(node, node.args[argument], order):
                    node.meta["_share_alloc_with_arg_idx"] = argument
                    break
        return super().run(graph_module, graph_signature)


def _is_last_reader(node: Node, value: object, order: dict[Node, int]) -> bool:
    """Whether `value` is a result with memory of its own which nothing reads after `node`."""
    if not isinstance(value, Node) or getattr(value.kwargs.get("out"), "target", None) is not alloc:
        return False
    # Whatever reads it before may be a view of it, which shares its memory: only operators that write elsewhere do.
    return all(
        order[user] <= order[node] and getattr(user.kwargs.get("out"), "target", None) is alloc for user in value.users
    )
