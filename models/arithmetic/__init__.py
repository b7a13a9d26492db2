"""The arithmetic that a training computes in, forward; one file each, in the catalogue by name."""
