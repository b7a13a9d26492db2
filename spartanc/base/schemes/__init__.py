"""Quantisation schemes: how a program's numbers are held, as far as it can be said without torch; one file each."""
