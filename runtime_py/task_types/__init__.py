"""What kinds of answer a model can give: one object each, one file each. Needs no torch."""
