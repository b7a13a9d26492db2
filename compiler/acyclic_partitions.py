"""XNNPACK's partitioner, kept from pieces that need each other's results.

ExecuTorch puts operators into one piece if no path leads out of the piece and back into it, operator by operator. Two
pieces that are each sound can still read from one another:

    a1 -> b1,  b2 -> a2            no path from a1 to a2, nor from b1 to b2
    A = {a1, a2}, B = {b1, b2}     neither can run before the other: «Invalid partition, found dependency cycles»

Where its pieces do that they are put together anew, by the same rule and one more: paths lead through whole pieces.
All others are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir.backend.canonical_partitioners.group_partitioner import GroupBasedPartitioner
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.fx.passes.infra.partitioner import Partition
from torch.fx.passes.operator_support import create_op_support


class AcyclicPartitioner(XnnpackPartitioner):
    """XNNPACK's own, whose pieces can always run one after another."""

    def generate_partitions(self, ep: ExportedProgram) -> list[Partition]:
        found = super().generate_partitions(ep)
        if are_acyclic(ep.graph, (each.nodes for each in found)):
            return found
        groups = self.get_matched_nodes_from_configs(ep)
        supported = {node for group in groups for node in group}
        support = create_op_support(lambda _, node: node in supported)
        partitioner = _WholePieces(ep.graph_module, support, allows_single_node_partition=True, node_groups=groups)
        return partitioner.propose_partitions()


class _WholePieces(GroupBasedPartitioner):
    def _can_merge_partitions(self, p1: int, p2: int, partitions_by_id: dict[int, Partition]) -> bool:
        if not super()._can_merge_partitions(p1, p2, partitions_by_id):
            return False
        pieces = {name: each.nodes for name, each in partitions_by_id.items()}
        merged = [*pieces.pop(p1), *pieces.pop(p2)]
        return are_acyclic(self.graph_module.graph, [*pieces.values(), merged])


def are_acyclic(graph: Graph, pieces: Iterable[Iterable[Node]]) -> bool:
    """Whether pieces of `graph`, each run as a whole, and the operators in none of them can run one after another."""
    # Constants that several pieces read are copied into each.
    piece_of = {node: at for at, piece in enumerate(pieces) for node in piece if node.op == "call_function"}
    needs: dict[Node | int, set[Node | int]] = {}
    for node in graph.nodes:
        own = piece_of.get(node, node)
        needs.setdefault(own, set()).update(piece_of.get(each, each) for each in node.all_input_nodes)
        needs[own].discard(own)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError:
        return False
    return True
