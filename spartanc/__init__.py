"""spartanc: compiles trained SPARTAN sparse-memory Transformers to small Arm devices."""

__version__ = "0.1.0"
