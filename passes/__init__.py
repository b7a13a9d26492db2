"""Graph passes, one a file; `pipelines` has their order, with its reasons."""

from spartanc.passes.ops import register

register()  # before any pass is imported: they name our operators

# Not inside a function: importing the module of this name later would put the module in the function's place.
from spartanc.passes.fuse_memories import fuse_memories  # noqa: E402

__all__ = ["fuse_memories"]
