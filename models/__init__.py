"""The memory, its place in Hugging Face encoders, checkpoints, and training."""
