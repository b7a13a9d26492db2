"""Portable: XNNPACK and stock operators alone, for a runtime that nothing of ours can be linked into."""

from __future__ import annotations

from spartanc.compiler.backends.xnnpack import Xnnpack
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.stock import StockDevice


class Portable(Xnnpack):
    lowering = "portable"
    stock = True

    def device(self) -> Device:
        """What is to run without us is proved without us."""
        return StockDevice()


PORTABLE = Portable()
