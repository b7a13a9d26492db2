"""Imports what a run of a study needs, for the server that its processes are forked from.

Nothing here uses the names (noqa: F401): importing them once, before the fork, is all that this is for.
"""

import accelerate  # noqa: F401
from transformers import BertForSequenceClassification  # noqa: F401

import spartanc.models.study
import spartanc.models.transformers_trainer  # noqa: F401
