"""`none`: memories packed in fp32, the rest as it is."""

from spartanc.passes.pack_memories import PackMemories
from spartanc.passes.schemes.scheme_passes import SchemePasses

NONE = SchemePasses(memories=PackMemories)
