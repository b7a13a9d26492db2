"""Backends: what a program is lowered to, how its linears are quantised, and what runs it here; one file each."""
