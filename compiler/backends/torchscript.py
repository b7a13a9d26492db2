"""TorchScript: a traced module of stock operators in fp32, for runtimes that have torch and no ExecuTorch."""

from __future__ import annotations

from spartanc.compiler.backends.portable import Portable


class TorchScript(Portable):
    format = "torchscript"
    program = "model.ts"
    takes_runtime = False


TORCHSCRIPT = TorchScript()
