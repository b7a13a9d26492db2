"""What all 64-bit Arm targets share."""

# Armv8.0-A with NEON and nothing optional: the instruction set of Cortex-A53, the least of the boards.
BASE_FLAGS = ("-march=armv8-a",)

# Raspberry Pi OS on Debian 12. The release before it (glibc 2.31) is too old for Debian 12's cross compiler.
RASPBERRY_PI_OS_GLIBC = (2, 36)

# Where instructions a position are even, counted under qemu for cortex-a72 at H=768, K=8, three children, 32 positions.
# In thousands at E = 16, then 32, all keys in one product and not: fp32 30 and 29, 49 and 35; int8 35 and 32, 50 and
# 37; int4 58 and 62, 77 and 64. No board was timed.
PACKED_KEYS_UP_TO = {"none": 2.0, "int8": 1.5, "int4": 3.0, "int4-memories": 3.0}

# By the board model (docs/board-model.md), one core; no board was timed.
LINEARS_REASON = {
    "cortex-a53": "XNNPACK takes a 16-bit kernel here: 2.6 multiply-adds a cycle where ours does 3.4",
    "cortex-a72": "XNNPACK's kernel reads all weights again for every 2 rows, ours for every 32",
    "cortex-a76": "ours applies bias and GELU while sums are in registers; both reach the multiplier's limit",
}
