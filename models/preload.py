"""Imports what a run of a study needs, for the server that its processes are forked from; does nothing else."""

import accelerate  # noqa: F401
from transformers import BertForSequenceClassification, Trainer, TrainingArguments  # noqa: F401

import spartanc.models.study  # noqa: F401
