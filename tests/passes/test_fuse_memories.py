"""fuse_memories: every honest spelling of the memory is found, every near miss is left alone with its reason."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.export import Dim, ExportedProgram, export

from spartanc.passes import fuse_memories
from support import memory_forms as forms
from support.near_misses import NEAR_MISSES

LOOKUP = torch.ops.spartan.memory_lookup.default
PUBLISHED = [forms.PublishedDense, forms.PublishedGather, forms.ScatteredWeights]
SHAPES = [
    pytest.param({}, id="default"),
    pytest.param({"K": 1}, id="one-chosen"),
    pytest.param({"K": 8}, id="all-chosen"),
    pytest.param({"M": 8}, id="one-child"),
    pytest.param({"E": 1, "M": 5, "K": 1}, id="one-parent"),
]


def exported(model: nn.Module, x: torch.Tensor, dynamic: bool = False) -> ExportedProgram:
    shapes = ({1: Dim("length", min=1, max=64)},) if dynamic else None
    with torch.no_grad():
        return export(model, (x,), dynamic_shapes=shapes)


def lookups(program: ExportedProgram) -> int:
    return sum(node.target is LOOKUP for node in program.graph.nodes)


def assert_close(got: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert expected.numel() and torch.isfinite(expected).all() and expected.abs().max() > 0
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def assert_fused(model: nn.Module, x: torch.Tensor, sites: int = 1, dynamic: bool = False) -> ExportedProgram:
    program = exported(model, x, dynamic)
    before = str(program.graph)
    assert lookups(program) == 0
    fused, report = fuse_memories(program)
    assert (report.fused, report.skipped) == (sites, [])
    assert lookups(fused) == sites
    assert str(program.graph) == before, "the input program was changed"
    with torch.no_grad():
        assert_close(fused.module()(x), model(x))
        if dynamic:
            for length in (1, 2, 7):
                other = torch.randn(x.shape[0], length, x.shape[2], generator=torch.Generator().manual_seed(length))
                assert_close(fused.module()(other), model(other))
    return fused


def example(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", PUBLISHED, ids=lambda f: f.__name__)
def test_published_forms_are_fused(form, shape, dynamic):
    assert_fused(form(**shape), example(2, 5, 16), dynamic=dynamic)


@pytest.mark.parametrize("form", forms.DENSE + forms.GATHER, ids=lambda f: f.__name__)
def test_variations_are_fused(form):
    # torch itself fixes the length of a take_along_dim when it exports one.
    assert_fused(form(), example(2, 5, 16), dynamic=form is not forms.GatherTakeAlong)


@pytest.mark.parametrize(
    ("form", "shape"),
    [(forms.AllParents, {"K": 8}), (forms.OneParentByMax, {"K": 1}), (forms.OneParentByArgmax, {"K": 1})],
    ids=["all-parents-without-selection", "max", "argmax"],
)
def test_forms_of_special_shapes_are_fused(form, shape):
    assert_fused(form(**shape), example(2, 5, 16))


@pytest.mark.parametrize("kind", NEAR_MISSES, ids=lambda k: k.__name__)
def test_near_misses_are_left_alone_with_their_reason(kind):
    model, x = kind(), example(2, 5, 16)
    program = exported(model, x)
    selecting = {"topk", "kthvalue"}
    assert any(getattr(n.target, "_opname", "") in selecting for n in program.graph.nodes), "nothing is selected"
    result, report = fuse_memories(program)
    assert report.fused == 0
    assert lookups(result) == 0
    assert report.skipped, "silence is a defect"
    assert any(kind.reason in skip.reason for skip in report.skipped), report.skipped
    names = {node.name for node in result.graph.nodes}
    assert all(skip.node in names for skip in report.skipped)


@pytest.mark.parametrize("shape", [(16,), (5, 16), (2, 5, 16), (2, 3, 5, 16), (1, 1, 16)], ids=str)
@pytest.mark.parametrize("form", [forms.EinsumEllipsis, forms.GatherIndexing], ids=lambda f: f.__name__)
def test_any_leading_dimensions(form, shape):
    assert_fused(form(), example(*shape))


class Encoder(nn.Module):
    """Attention, feed-forward and a memory, several times, as an encoder has them."""

    def __init__(self, memories: list[nn.Module], H: int = 16, bias: bool = True):
        super().__init__()
        self.memories = nn.ModuleList(memories)
        self.qkv = nn.ModuleList(nn.Linear(H, 3 * H, bias=bias) for _ in memories)
        self.up = nn.ModuleList(nn.Linear(H, 2 * H, bias=bias) for _ in memories)
        self.down = nn.ModuleList(nn.Linear(2 * H, H, bias=bias) for _ in memories)
        self.norm = nn.LayerNorm(H)
        self.head = nn.Linear(H, 3)
        self.eval()

    def forward(self, x):
        for memory, qkv, up, down in zip(self.memories, self.qkv, self.up, self.down, strict=True):
            q, k, v = (part.unflatten(-1, (4, -1)).transpose(1, 2) for part in qkv(self.norm(x)).chunk(3, -1))
            mixed = torch.softmax(q @ k.transpose(-1, -2) * 0.5, -1) @ v
            x = x + mixed.transpose(1, 2).flatten(-2)
            x = memory(x + down(torch.nn.functional.gelu(up(x))))
        return self.head(x[:, 0])


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_memories_of_several_layers_in_an_encoder(bias):
    torch.manual_seed(0)
    memories = [forms.PublishedDense(seed=1), forms.PublishedGather(seed=2), forms.Dense(seed=3)]
    assert_fused(Encoder(memories, bias=bias), example(2, 5, 16), sites=3, dynamic=True)


class InARow(nn.Module):
    """One memory after another, with nothing between them; the second reads the first one's plain result."""

    def __init__(self):
        super().__init__()
        self.first, self.second = forms.Dense(seed=1), forms.GatherIndexing(seed=2)

    def forward(self, x):
        return self.second(self.first(x) - x)


def test_one_memory_after_another():
    assert_fused(InARow(), example(2, 5, 16), sites=2)


@pytest.mark.parametrize("kinds", [(forms.Dense, forms.GatherIndexing), (forms.PublishedGather, forms.PublishedDense)])
def test_a_memory_of_a_memory(kinds):
    first, second = kinds
    assert_fused(nn.Sequential(first(seed=1), second(seed=2)), example(2, 5, 16), sites=2)


class Pooled(nn.Module):
    """A memory of one vector, after so many residuals that their paths cannot be followed one by one."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(40))
        self.memory = forms.Dense(seed=1)

    def forward(self, x):
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.memory(x[:, :1])


def test_a_memory_of_a_pooled_vector_after_many_residuals():
    assert_fused(Pooled().eval(), example(1, 6, 16))


class SameWeightsTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory = forms.PublishedDense()

    def forward(self, x):
        return self.memory(torch.tanh(self.memory(x)))


def test_layers_that_share_their_memory():
    assert_fused(SameWeightsTwice(), example(2, 5, 16), sites=2)


class WeightsAsInputs(forms.Dense):
    def forward(self, x, values, parents, keys):
        weights = forms.dense_weights(x @ parents.T, self.K)
        children = (x @ keys.T / self.T).unflatten(-1, (self.E, self.C)).softmax(-1)
        return torch.einsum("bsm,mh->bsh", (children * weights.unsqueeze(-1)).flatten(-2), values)


def test_tables_may_be_inputs_of_the_program():
    model, x = WeightsAsInputs(), example(2, 5, 16)
    tables = (model.values.detach(), model.parents.detach(), model.keys.detach())
    program = export(model, (x, *tables))
    fused, report = fuse_memories(program)
    assert (report.fused, report.skipped, lookups(fused)) == (1, [], 1)
    with torch.no_grad():
        assert_close(fused.module()(x, *tables), model(x, *tables))


def test_a_fused_memory_beside_a_near_miss():
    kind = next(k for k in NEAR_MISSES if k.__name__ == "ChildSoftmaxOverParents")
    model = nn.Sequential(forms.Dense(seed=1), nn.LayerNorm(16), kind(seed=2)).eval()
    fused, report = fuse_memories(exported(model, example(2, 5, 16)))
    assert (report.fused, lookups(fused)) == (1, 1)
    assert ["wrong axis" in skip.reason for skip in report.skipped] == [True]


def test_fusing_again_changes_nothing():
    fused = assert_fused(forms.Dense(), example(2, 5, 16))
    again, report = fuse_memories(fused)
    assert (report.fused, report.skipped, lookups(again)) == (0, [], 1)


def test_a_core_aten_program_is_fused_as_well():
    """The default decompositions spell einsum and linear as views, permutes, mm and bmm."""
    model, x = forms.PublishedDense(), example(2, 5, 16)
    program = exported(model, x).run_decompositions()
    fused, report = fuse_memories(program)
    assert (report.fused, report.skipped, lookups(fused)) == (1, [], 1)
    assert_close(fused.module()(x), model(x))


FORMS = st.sampled_from(
    [forms.PublishedDense, forms.PublishedGather, forms.ScatteredWeights, forms.MaskedFill, forms.GatherFlatCells]
)


@st.composite
def memories(draw):
    E = draw(st.sampled_from([1, 2, 3, 5, 8, 16]))
    K = draw(st.sampled_from(sorted({1, E, draw(st.integers(1, E))})))
    C = draw(st.sampled_from([1, 1, 2, 3, 7]))
    shape = {"E": E, "M": E * C, "K": K, "T": draw(st.sampled_from([0.3, 1.0, 1.6, 7.0]))}
    return shape | {"H": draw(st.sampled_from([2, 5, 16, 33]))}


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    shape=memories(),
    kinds=st.lists(FORMS, min_size=1, max_size=3),
    batch=st.integers(1, 3),
    length=st.sampled_from([2, 3, 9]),
    dynamic=st.booleans(),
)
def test_every_shape_of_memory_agrees_with_eager(shape, kinds, batch, length, dynamic):
    layers = [kind(**shape, seed=seed) for seed, kind in enumerate(kinds)]
    assert_fused(nn.Sequential(*layers), example(batch, length, shape["H"]), sites=len(layers), dynamic=dynamic)
