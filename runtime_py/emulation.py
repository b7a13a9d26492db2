"""Whether a machine is an emulation of one, by what it calls itself: its times then tell nothing of a board.

The `spartan` command lists the names: of the device tree, of the firmware (DMI), and of the hypervisor below an x86
processor. QEMU's machines have QEMU's names whether it translates instructions (TCG) or a real processor runs them
(KVM). On x86 the hypervisor's name tells the two apart; on Arm nothing does, and neither is the board that a bundle is
for.
"""

from __future__ import annotations

from collections.abc import Sequence

_TRANSLATES = "TCGTCGTCGTCG"
_RUNS_ON_HARDWARE = ("KVMKVMKVM", "Microsoft Hv", "VMwareVMware", "XenVMMXenVMM", "bhyve bhyve", "VBoxVBoxVBox")
_EMULATED = ("linux,dummy-virt", "qemu", _TRANSLATES.lower())


def emulator_among(hardware: Sequence[str]) -> str | None:
    """The first of a machine's names that only an emulated, or virtual Arm, machine has; None if there is none."""
    if any(name.startswith(_RUNS_ON_HARDWARE) for name in hardware):
        return None
    return next((name for name in hardware if any(each in name.lower() for each in _EMULATED)), None)
