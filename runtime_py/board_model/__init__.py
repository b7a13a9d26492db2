"""Modelled time of one inference on a board that is not at hand: emulated counts, llvm-mca's cycles, simulated caches.

blocks       what the emulator counted: straight runs of instructions, how often, with how many cache misses
counting     runs a program under qemu with the plugin that counts
assembly     instruction words as text that llvm-mca takes
cycles       cycles of each block on a core
timing       cycles and bytes to milliseconds, with the band that divisions leave
hot_loops    where the cycles go, by function and loop
parameters   the boards' figures, from boards.toml, each with its source
tools        the programs that all this needs

The figures are deterministic and no measurement: docs/board-model.md says how far they can be believed.
"""
