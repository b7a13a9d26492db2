"""What a backend is: whose kernels run a program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spartanc.base.schemes.none import NONE
from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.stage import Stage
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.pipelines import exact_passes, final_passes, rest_passes, task_passes
from spartanc.passes.protocol import GraphPass
from spartanc.passes.schemes.catalogue import passes_of
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.local import LocalDevice


class Backend(ABC):
    """Base of all backends; a method that is not abstract says what most of them do.

    lowering: as `--lowering` takes it. kernels: whose kernels linears get, as manifests say it. stock: whether programs
    hold stock operators alone. format, program: of the file. takes_runtime: whether the native runtime runs it. A
    bundle's backend is found by lowering, kernels and format.
    """

    lowering: str = "fused"
    kernels: str = "xnnpack"
    stock: bool = False
    format: str = "executorch"
    program: str = "model.pte"
    takes_runtime: bool = True

    @abstractmethod
    def quantizing_stages(self, scheme: Scheme) -> list[Stage]:
        """What quantises the backbone's linears between the passes; nothing if `quantizing_passes` do."""

    def quantizing_passes(self, scheme: Scheme) -> Sequence[GraphPass]:
        """What quantises the backbone's linears as the last passes; nothing if `quantizing_stages` do."""
        return ()

    @abstractmethod
    def partitioners(self) -> list[Any]:
        """ExecuTorch's partitioners: what is handed to a delegate."""

    def device(self) -> Device:
        """Where a program is proved on this machine."""
        return LocalDevice()

    def task_scheme(self, scheme: Scheme) -> Scheme:
        """The form of the tensors that tasks of a shared program bring."""
        return NONE if self.stock else scheme

    def exact_passes(self) -> list[GraphPass]:
        return exact_passes(stock=self.stock)

    def final_passes(self, scheme: Scheme, choice: FormChoice) -> list[GraphPass]:
        """Of a program for one task; choice: the form of its memories."""
        linears = self.quantizing_passes(scheme)
        return final_passes(passes_of(scheme), stock=self.stock, choice=choice, linears=linears)

    def task_passes(self, scheme: Scheme, task_names: Sequence[str]) -> list[GraphPass]:
        """Of a shared program, before the tensors of a task become inputs."""
        return task_passes(passes_of(scheme), task_names, stock=self.stock)

    def rest_passes(self, scheme: Scheme) -> list[GraphPass]:
        """Of a shared program, after that."""
        return rest_passes(passes_of(scheme), stock=self.stock, linears=self.quantizing_passes(scheme))


@dataclass(frozen=True)
class BackendChoice:
    """reason: of the choice of kernels for linears, for the report."""

    backend: Backend
    reason: str

    def as_json(self) -> dict[str, str]:
        return {"kernels": self.backend.kernels, "reason": self.reason}
