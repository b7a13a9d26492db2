"""Ways to choose which blocks of weights stay; one file each, in the catalogue by name."""
