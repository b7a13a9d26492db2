"""The ground floor: what every package uses and what uses none of them. Needs no torch."""
