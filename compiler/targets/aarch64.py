"""What all 64-bit Arm targets share."""

# Armv8.0-A with NEON and nothing optional: the instruction set of Cortex-A53, the least of the boards.
BASE_FLAGS = ("-march=armv8-a",)

# Raspberry Pi OS on Debian 12. The release before it (glibc 2.31) is too old for Debian 12's cross compiler.
RASPBERRY_PI_OS_GLIBC = (2, 36)
