"""Lowering: an exported program becomes an ExecuTorch program, XNNPACK taking all that it can.

What XNNPACK leaves runs on ExecuTorch's optimised kernels and on our own operators; the report names every one of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS, GeluConfig, UnsqueezeCopyConfig
from executorch.exir import (
    EdgeCompileConfig,
    EdgeProgramManager,
    ExecutorchBackendConfig,
    ExecutorchProgramManager,
    to_edge_transform_and_lower,
)
from torch.export import ExportedProgram

from spartanc.compiler.acyclic_partitions import AcyclicPartitioner
from spartanc.compiler.compat.quick_lowering import quick_lowering
from spartanc.compiler.in_place import InPlacePlanning
from spartanc.errors import CompileError
from spartanc.passes.program import copy_program


class _UnsqueezeOfOneDynamicSize(UnsqueezeCopyConfig):
    """XNNPACK's reshape takes one dynamic size; its partitioner offers it more and then fails."""

    def check_constraints(self, node: torch.fx.Node, ep: ExportedProgram) -> bool:
        dynamic = [size for size in node.meta["val"].shape if not isinstance(size, int)]
        return len(dynamic) <= 1 and super().check_constraints(node, ep)


class _ExactGelu(GeluConfig):
    """XNNPACK's GELU is the exact one; its partitioner takes the one by tanh for it."""

    def check_constraints(self, node: torch.fx.Node, ep: ExportedProgram) -> bool:
        return node.kwargs.get("approximate", "none") == "none" and super().check_constraints(node, ep)


def xnnpack_partitioner() -> AcyclicPartitioner:
    """XNNPACK's own, kept from what it would take and then fail on, and from pieces that need each other."""
    replaced = {UnsqueezeCopyConfig: _UnsqueezeOfOneDynamicSize, GeluConfig: _ExactGelu}
    return AcyclicPartitioner(configs=[replaced.get(config, config) for config in ALL_PARTITIONER_CONFIGS])


@dataclass(frozen=True)
class Lowered:
    """The bytes of a `.pte` and what became of its operators.

    delegated_nodes: operators inside XNNPACK; delegates: how many subgraphs they form;
    fallback_ops: operators outside, by name, with their count (ours among them);
    costs: what every operator costs, by its length (spartanc.compiler.costs);
    operators, backends: what a runtime must have to load the program, by ExecuTorch's names.
    """

    program: bytes
    delegated_nodes: int
    delegates: int
    fallback_ops: dict[str, int]
    costs: list[dict[str, Any]] = field(default_factory=list)
    operators: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()


def lower(program: ExportedProgram, *, partitioners: list | None = None, inputs_in_place: bool = False) -> Lowered:
    """Lower to XNNPACK and serialise. Raises CompileError where ExecuTorch refuses the graph.

    inputs_in_place: the program reads its inputs where the caller has them; without it, it has memory of its own for
    them, of their largest size, and copies.
    """
    try:
        with quick_lowering():
            edge = to_edge_transform_and_lower(
                _with_own_storage(copy_program(program)),  # lowering takes constants out of what it is given
                partitioner=[xnnpack_partitioner()] if partitioners is None else partitioners,
                # Our operators are not core ATen; ExecuTorch checks that each has an out variant when it emits.
                compile_config=EdgeCompileConfig(_check_ir_validity=False),
            )
            delegated, delegates, fallback = _census(edge)
            # Our kernels' packed tensors lie on cache lines: split loads cost a third of their speed.
            config = ExecutorchBackendConfig(
                extract_delegate_segments=True,
                constant_tensor_alignment=64,
                memory_planning_pass=InPlacePlanning(alloc_graph_input=not inputs_in_place),
            )
            emitted = edge.to_executorch(config)
        operators, backends = _needs(emitted)
        return Lowered(emitted.buffer, delegated, delegates, fallback, operators=operators, backends=backends)
    except Exception as error:
        raise CompileError(f"ExecuTorch could not lower the program: {error}") from error


def _with_own_storage(program: ExportedProgram) -> ExportedProgram:
    """`program` itself, with no constant in the middle of another's storage, whose beginning XNNPACK would write down
    (findings/xnnpack-buffer-in-the-middle.sh).
    """
    for store in (program.state_dict, program.constants):
        for name, value in store.items():
            if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter) and value.storage_offset():
                store[name] = value.detach().clone()
    return program


def _census(edge: EdgeProgramManager) -> tuple[int, int, dict[str, int]]:
    delegated = delegates = 0
    fallback: Counter[str] = Counter()
    graph_module = edge.exported_program().graph_module
    for node in graph_module.graph.nodes:
        if node.op != "call_function":
            continue
        if "executorch_call_delegate" in str(node.target):
            delegates += 1
            lowered = getattr(graph_module, node.args[0].target)
            delegated += sum(inner.op == "call_function" for inner in lowered.original_module.graph_module.graph.nodes)
        elif "getitem" not in str(node.target) and not str(node.target).startswith("sym_size"):
            fallback[_operator_name(node.target)] += 1
    return delegated, delegates, dict(sorted(fallback.items(), key=lambda item: (-item[1], item[0])))


def _needs(emitted: ExecutorchProgramManager) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the kernels and of the backends that the emitted program calls, sorted."""
    operators, backends = set(), set()
    for plan in emitted.executorch_program.execution_plan:
        operators |= {f"{each.name}.{each.overload}" if each.overload else each.name for each in plan.operators}
        backends |= {each.id for each in plan.delegates}
    return tuple(sorted(operators)), tuple(sorted(backends))


def _operator_name(target: object) -> str:
    schema = getattr(target, "_schema", None) or getattr(getattr(target, "_op", None), "_schema", None)
    if schema is None:
        return getattr(target, "__name__", str(target))
    return f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
