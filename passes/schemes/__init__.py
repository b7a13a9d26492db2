"""What each quantisation scheme does to a program; one file each, named as in `spartanc.base.schemes`."""
