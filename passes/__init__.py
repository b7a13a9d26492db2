"""Graph passes, one a file; `pipelines` has their order, with its reasons."""

# Not inside a function: importing the module of this name later would put the module in the function's place.
from spartanc.passes.fuse_memories import fuse_memories

__all__ = ["fuse_memories"]
