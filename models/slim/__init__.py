"""`spartanc slim`: a narrower backbone for all tasks, out of a pretrained encoder and texts without labels."""
