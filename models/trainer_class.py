"""transformers' Trainer as `trainer.py` runs it: with finite numbers only, and to the same end wherever it was cut.

A checkpoint of transformers holds weights, optimizer, schedule, generators and what was logged. Ours adds the masks of
memories, and within an epoch the state that the epoch's order of rows was drawn from. Patience and the place of the
best checkpoint are worked out anew from what was logged.

Importing this takes a second, as `transformers_trainer.py` does, so do that where it is needed.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler

from spartanc.errors import GateError, UsageError
from spartanc.models.settings import TrainSettings
from spartanc.models.sparse_memories import SparseMemories, make_sparse
from spartanc.models.transformers_trainer import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
)

_ORDER = "row_order.pt"


class CheckedTrainer(Trainer):
    """A Trainer whose model is a TrainingModule; it says what it could not write and keeps masks of weights.

    settings: say how sparse memories become and how patient it is. checkpoint: where to go on from. step_loss: of the
    last step. sparse: the masks on memories, None where they are dense.

    Training raises GateError where loss or weights are no longer finite, UsageError where a checkpoint cannot be
    written or holds no masks.
    """

    def __init__(self, *args: Any, settings: TrainSettings, checkpoint: Path | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.step_loss = math.nan
        self.checkpoint = checkpoint
        # After the optimizer, which knows memories by their own parameters, and where the model is by now.
        self.sparse: SparseMemories | None = make_sparse(self.model.classifier, settings)
        for callback in (PrinterCallback, ProgressCallback):  # stdout belongs to results
            self.remove_callback(callback)
        self.add_callback(_FindBest())
        if settings.patience is not None:
            self.add_callback(_Patience(settings.patience))
        if self.sparse is not None:
            self.model.penalty = self.sparse.penalty
            self.add_callback(_MoveMasks(self.sparse))
            if checkpoint is not None:
                self.sparse.load(checkpoint)

    def run(self) -> None:
        """Train from the beginning or the checkpoint to the end, and load the best weights with their masks."""
        self.train(resume_from_checkpoint=None if self.checkpoint is None else str(self.checkpoint))

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(model, inputs | self._real_rows(inputs), *args, **kwargs)
        self.step_loss = loss.item()
        if not math.isfinite(self.step_loss):
            raise _diverged(f"the loss became `{self.step_loss}` in step {self.state.global_step + 1}")
        return loss

    def _real_rows(self, inputs: dict[str, Any]) -> dict[str, int]:
        """accelerate fills up the last batch with rows of the first one, so that each process has a share."""
        # By the rows themselves: within an epoch that is gone on with accelerate 1.15 knows of no remainder.
        remainder = len(self.train_dataset) % self.args.per_device_train_batch_size
        if self.args.world_size == 1 or not self.accelerator.gradient_state.end_of_dataloader or not remainder:
            return {}
        share = len(inputs["labels"])
        return {"real_rows": min(share, max(0, remainder - share * self.args.process_index))}

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        self._require_finite_weights()
        if self.sparse is not None:
            self.sparse.project()
        return super().evaluate(*args, **kwargs)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> RowOrder:
        self.order = RowOrder(super()._get_train_sampler(*args, **kwargs), self.checkpoint)
        return self.order

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if not self.control.should_training_stop:  # as from the start where patience had run out at the checkpoint
            super()._run_epoch(*args, **kwargs)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.sparse is not None:
            self.sparse.load(Path(self.state.best_model_checkpoint))

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self._require_finite_weights()
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            if self.is_world_process_zero():
                self._save_own(folder)  # first: transformers' last file makes a checkpoint whole, and older ones go
            super()._save_checkpoint(*args, **kwargs)
        except Exception as error:  # OSError, torch's RuntimeError, safetensors' own: whoever was writing
            shutil.rmtree(folder, ignore_errors=True)
            raise UsageError(
                f"cannot write the checkpoint `{folder}`: {error}",
                hint="is there room? --resume goes on from the last checkpoint, if there is one",
            ) from error

    def _save_own(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if self.sparse is not None:
            self.sparse.save(folder)
        if self.state.epoch % 1:  # at an epoch's end the next one's is still to be drawn
            self.order.save(folder)

    def _require_finite_weights(self) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and not torch.isfinite(parameter).all():
                name = name.removeprefix("classifier.")
                raise _diverged(f"`{name}` holds NaN or infinite values after step {self.state.global_step}")


class RowOrder(Sampler):
    """Rows in the order of a sampler that draws from torch's own generator; within an epoch it can be drawn again.

    transformers restores generators only when the rows that were seen are skipped, so that these and the rest would be
    of another order. checkpoint: where to go on from; only one within an epoch holds an order.
    """

    def __init__(self, sampler: Sampler, checkpoint: Path | None) -> None:
        self.sampler = sampler
        file = None if checkpoint is None else checkpoint / _ORDER
        self._again = torch.load(file, weights_only=True) if file is not None and file.is_file() else None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[int]:
        if self._again is not None:
            torch.set_rng_state(self._again)
            self._again = None
        self._drawn_from = torch.get_rng_state()
        return iter(self.sampler)

    def save(self, checkpoint: Path) -> None:
        """What the order of the epoch that is under way was drawn from."""
        torch.save(self._drawn_from, checkpoint / _ORDER)


class _FindBest(TrainerCallback):
    """A training that goes on may have been moved since, or started from another folder."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.best_global_step:
            state.best_model_checkpoint = str(Path(args.output_dir) / f"checkpoint-{state.best_global_step}")


class _Patience(EarlyStoppingCallback):
    """Goes on counting from what was logged: transformers starts at 0, and trains on where it had run out."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        evaluations = [entry["step"] for entry in state.log_history if f"eval_{args.metric_for_best_model}" in entry]
        self.early_stopping_patience_counter = sum(step > state.best_global_step for step in evaluations)
        control.should_training_stop = self.early_stopping_patience_counter >= self.early_stopping_patience


class _MoveMasks(TrainerCallback):
    """Before every step."""

    def __init__(self, sparse: SparseMemories) -> None:
        self.sparse = sparse

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.sparse.advance(state.global_step / state.max_steps)


def _diverged(what: str) -> GateError:
    return GateError(f"the training diverged: {what}", hint="a lower --learning-rate may help; no model was written")
