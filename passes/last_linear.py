"""The linear that gives the logits, which quantisation leaves in fp32.

It is a thousandth of a program, nothing after it evens its rounding out, and a task of a fleet brings it as an input in
fp32: so a fleet answers as its tasks' own bundles do.
"""

from __future__ import annotations

import torch
from torch.fx import Node

_LINEAR = torch.ops.aten.linear.default


def gives_the_logits(node: Node) -> bool:
    """Whether `node` is a linear whose result no other linear reads, however indirectly."""
    if node.target is not _LINEAR:
        return False
    seen, waiting = {node}, [node]
    while waiting:
        for user in waiting.pop().users:
            if user.target is _LINEAR:
                return False
            if user not in seen:
                seen.add(user)
                waiting.append(user)
    return True
