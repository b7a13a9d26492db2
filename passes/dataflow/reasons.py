"""Reasons to reject a memory lookup that several modules give."""

THRESHOLD = "a threshold in place of a top-K: ties would choose more than K"
NOT_NORMALISED = "the parents' weights are not normalised over the chosen parents only"
SMALLEST = "the smallest are chosen, not the largest"
WRONG_AXIS = "softmax over a wrong axis: it does not run over the chosen parents"
