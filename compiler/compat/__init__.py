"""What replaces parts of other people's packages: one file each, with the reason and the version it was tried with."""
