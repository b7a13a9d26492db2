"""What the benchmarks of whole encoders compare: models of one shape with the same weights, and programs of them.

models     spartan (memories), bare (none), adapters (Houlsby or Pfeiffer), gather (memories as first published)
programs   ours (this compiler), stock (ExecuTorch's own XNNPACK recipes), onnx (ONNX Runtime's)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spartanc.models.baselines import BaselineClassifier, Bottleneck
from spartanc.models.classifier import LayerWithMemory, SpartanClassifier
from spartanc.models.memory import Memory, SpartanConfig

if TYPE_CHECKING:
    from spartanc.compiler.pipeline import Pipeline

CLASSES = 6
OPSET = 17


def encoder_config(layers: int, hidden: int) -> dict[str, Any]:
    """A BERT of 12 heads with `layers` layers, `hidden` wide."""
    return {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 12,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "num_labels": CLASSES,
        "layer_norm_eps": 1e-12,
    }


def bare(layers: int, hidden: int) -> SpartanClassifier:
    torch.manual_seed(0)
    return SpartanClassifier(encoder_config(layers, hidden), None, None).eval()


def spartan(layers: int, hidden: int, memory: dict[str, Any] | None = None) -> SpartanClassifier:
    """The weights of `bare` and random memories. memory: fields of SpartanConfig; the paper's by default."""
    source = bare(layers, hidden)
    torch.manual_seed(1)
    model = SpartanClassifier(encoder_config(layers, hidden), SpartanConfig(**(memory or {})), None).eval()
    state = model.state_dict()
    state |= {model.place(name.removeprefix("network.")): tensor for name, tensor in source.state_dict().items()}
    model.load_state_dict(state)
    return model


def adapters(layers: int, hidden: int, method: str = "houlsby", size: int = 48) -> BaselineClassifier:
    """The weights of `bare` and random adapters, which an untrained one's zeros would make too easy."""
    model = BaselineClassifier(bare(layers, hidden), method, size)
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, Bottleneck):
            nn.init.normal_(module.added_up.weight, std=0.02)
    return model.eval()


class GatherMemory(nn.Module):
    """x -> x + lookup(x) as version 2 of the original implementation has it: cells are copied for every position."""

    def __init__(self, memory: Memory):
        super().__init__()
        self.config = memory.config
        self.parents, self.keys, self.values = memory.parents, memory.keys, memory.values

    def forward(self, x_BSH: Tensor) -> Tensor:
        B, S, H = x_BSH.shape
        E, K, C = self.config.parents, self.config.top_k, self.config.cells // self.config.parents
        logits_BSE = x_BSH @ self.parents.T
        _, worst = torch.topk(logits_BSE, E - K, dim=-1, largest=False)
        weights_BSE = logits_BSE.scatter(-1, worst, float("-inf")).softmax(-1)
        _, index_BSK = torch.topk(logits_BSE, K, dim=-1)
        index = index_BSK[..., None, None].expand(-1, -1, -1, C, H)
        keys, values = (
            torch.gather(cells.view(1, 1, E, C, H).expand(B, S, -1, -1, -1), 2, index)
            for cells in (self.keys, self.values)
        )
        cells_BSKC = (torch.einsum("bskmh,bsh->bskm", keys, x_BSH) / self.config.temperature).softmax(-1)
        read_BSKH = torch.einsum("bskmh,bskm->bskh", values, cells_BSKC)
        return x_BSH + torch.einsum("bsk,bskh->bsh", weights_BSE.gather(-1, index_BSK), read_BSKH)


def gather(layers: int, hidden: int, memory: dict[str, Any] | None = None) -> SpartanClassifier:
    """The model of `spartan`, its memories in their published gather form."""
    model = spartan(layers, hidden, memory)
    for layer in model.layers():
        layer.memory = GatherMemory(layer.memory)
    return model.eval()


def our_pipeline(quantization: str, max_length: int, target: str = "host") -> Pipeline:
    """The one of `spartanc compile --target`."""
    from spartanc.base.schemes.catalogue import find_scheme
    from spartanc.base.targets.catalogue import find_target
    from spartanc.compiler.backends.catalogue import choose_backend
    from spartanc.compiler.pipeline import build_pipeline
    from spartanc.passes.memory_site import FormChoice

    board, scheme = find_target(target), find_scheme(quantization)
    backend = choose_backend(board, scheme, "fused").backend
    return build_pipeline(backend, scheme, max_length, choice=FormChoice(board.packed_keys_up_to[quantization]))


def write_with(pipeline: Pipeline, model: SpartanClassifier, path: Path, max_length: int) -> dict[str, Any]:
    """Run the pipeline; how many delegates the program has and which operators stayed outside."""
    from spartanc.compiler.pipeline import Artifact
    from spartanc.compiler.samples import random_rows

    rows = random_rows(model.config.vocab_size, max_length, 2)
    lowered = pipeline.run(Artifact(model, rows)).lowered
    assert lowered is not None
    path.write_bytes(lowered.program)
    return {"delegates": lowered.delegates, "outside": lowered.fallback_ops}


class TopkMemory(Memory):
    """The same memory with its parents chosen by `topk` of float32 logits, which ONNX has an operator for.

    Of equal logits any may be chosen; the module's own stable sort has no counterpart in ONNX, and its float64 logits
    would be a handicap for the rival.
    """

    def __init__(self, memory: Memory):
        super().__init__(memory.config, memory.parents.shape[1])
        self.parents, self.keys, self.values, self.norm = memory.parents, memory.keys, memory.values, memory.norm

    def parent_weights(self, x_BSH: Tensor) -> Tensor:
        logits_BSE = nn.functional.linear(x_BSH, self.parents)
        chosen_BSK, index_BSK = torch.topk(logits_BSE, self.config.top_k, dim=-1)
        return torch.zeros_like(logits_BSE).scatter(-1, index_BSK, chosen_BSK.softmax(-1))


def for_onnx(model: SpartanClassifier) -> SpartanClassifier:
    """`model` with its own memories in the form that ONNX can hold, in place."""
    for part in model.modules():
        if isinstance(part, LayerWithMemory) and isinstance(part.memory, Memory):
            part.memory = TopkMemory(part.memory)
    return model.eval()


def write_ours(
    model: SpartanClassifier, path: Path, quantization: str, max_length: int, target: str = "host"
) -> dict[str, Any]:
    """Compile as `spartanc compile --target` does."""
    return write_with(our_pipeline(quantization, max_length, target), model, path, max_length)


def write_stock(model: SpartanClassifier, path: Path, quantization: str, max_length: int) -> dict[str, Any]:
    """ExecuTorch's recipe for XNNPACK, length dynamic as ours: export, PT2E for int8, partition, emit."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    from spartanc.compiler.capture import capture
    from spartanc.compiler.quantize import quantize_backbone

    program = capture(model, max_length)
    if quantization != "none":
        program = quantize_backbone(program, max_length)  # XNNPACKQuantizer, without what breaks on these models
    edge = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], compile_config=EdgeCompileConfig(_check_ir_validity=False)
    )
    delegates = sum("executorch_call_delegate" in str(node.target) for node in edge.exported_program().graph.nodes)
    path.write_bytes(edge.to_executorch().buffer)
    return {"delegates": delegates}


def write_onnx(model: SpartanClassifier, path: Path, quantization: str, max_length: int) -> dict[str, Any]:
    """torch's exporter, length dynamic; for int8 ONNX Runtime's dynamic quantisation, per channel."""
    ids = torch.ones(1, min(max_length, 16), dtype=torch.long)
    names = ["input_ids", "attention_mask"]
    plain = path.with_suffix(".fp32.onnx") if quantization != "none" else path
    with torch.no_grad():
        torch.onnx.export(
            for_onnx(model),
            (ids, torch.ones_like(ids)),
            str(plain),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {1: "length"} for name in names},
            opset_version=OPSET,
            dynamo=False,
        )
    if quantization != "none":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(plain, path, per_channel=True, weight_type=QuantType.QInt8)
        plain.unlink()
    return {}


WRITERS = {"ours": write_ours, "stock": write_stock, "onnx": write_onnx}
KINDS = {"ours": ("session", "pte"), "stock": ("session", "pte"), "onnx": ("onnx", "onnx")}  # who runs it, from what


def write(
    maker: str, build: Callable[[], SpartanClassifier], path: Path, quantization: str, max_length: int
) -> dict[str, Any]:
    """Write a program unless `path` holds it already; what `write_MAKER` says of it."""
    return kept(path, lambda: WRITERS[maker](build(), path, quantization, max_length))


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` says of the program that it writes to `path`, or said when it did so before."""
    said = path.with_suffix(".json")
    if not (path.is_file() and said.is_file()):
        print(f"writing {path.name}", file=sys.stderr)
        said.write_text(json.dumps(make()))
    return json.loads(said.read_text())
