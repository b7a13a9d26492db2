"""The operators that spartanc adds to torch: schemas, shape functions and eager references."""
