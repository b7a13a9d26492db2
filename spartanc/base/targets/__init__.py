"""Targets: what a device has, as data; one file each."""
