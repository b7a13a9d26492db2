"""What is used of transformers' Trainer. Importing it takes a second, so do that where it is needed."""

import sys
from contextlib import redirect_stdout

with redirect_stdout(sys.stderr):  # under WANDB_MODE=offline transformers 5.24 says so on stdout, which is for results
    from transformers import (
        EarlyStoppingCallback,
        PrinterCallback,
        ProgressCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers.integrations import TensorBoardCallback, WandbCallback

__all__ = [
    "EarlyStoppingCallback",
    "PrinterCallback",
    "ProgressCallback",
    "TensorBoardCallback",
    "Trainer",
    "TrainerCallback",
    "TrainingArguments",
    "WandbCallback",
]
