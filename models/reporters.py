"""Where a training reports to besides its own files: transformers' callbacks for TensorBoard and Weights & Biases.

Nothing leaves this machine unless `wandb` is asked for, and not then under `WANDB_MODE=offline`.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from spartanc.errors import MissingToolError, UsageError

REPORTERS = ("none", "tensorboard", "wandb")
_EVENTS = "events.out.tfevents.*"


def tensorboard_folder(out: Path) -> Path:
    return out.with_name(f"{out.stem}.tensorboard")


def check_reporter(name: str) -> None:
    """Raises UsageError for an unknown name, MissingToolError where its package is not installed."""
    if name not in REPORTERS:
        raise UsageError(f"`--report-to {name}` is not one of {', '.join(REPORTERS)}")
    if name != "none" and importlib.util.find_spec(name) is None:
        raise MissingToolError(
            f"`--report-to {name}` needs the package {name}, which is not installed", hint=f"pip install {name}"
        )


def make_reporter(name: str, out: Path, settings: dict[str, Any]) -> Any:
    """A TrainerCallback that reports the training of `out`, None for `none`. settings: what is shown with it."""
    check_reporter(name)
    if name == "tensorboard":
        return _tensorboard(out, settings)
    return _wandb(out, settings) if name == "wandb" else None


def _tensorboard(out: Path, settings: dict[str, Any]) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    from spartanc.models.transformers_trainer import TensorBoardCallback

    class ReportToTensorBoard(TensorBoardCallback):
        """Writes beside the model, unless TENSORBOARD_LOGGING_DIR names another folder."""

        def on_train_begin(self, args, state, control, **kwargs):
            if not state.is_world_process_zero:
                return
            step = state.global_step
            folder = os.environ.get("TENSORBOARD_LOGGING_DIR")
            if folder is None:
                folder = str(tensorboard_folder(out))
                if step == 0:  # of an earlier training of the same model
                    for old in Path(folder).glob(_EVENTS):
                        old.unlink()
            # What was reported after the checkpoint is done again: TensorBoard drops the first of the two.
            self.tb_writer = SummaryWriter(folder, purge_step=step + 1 if step else None)
            self.tb_writer.add_text("settings", json.dumps(settings, indent=1))
            super().on_train_begin(args, state, control, **kwargs)

    return ReportToTensorBoard()


def _wandb(out: Path, settings: dict[str, Any]) -> Any:
    import wandb

    from spartanc.models.transformers_trainer import WandbCallback

    class ReportToWandb(WandbCallback):
        """A run of the model's name, ended with the training; one that is under way already is used and left open."""

        own = False

        def setup(self, args, state, model, **kwargs):
            self.own = wandb.run is None
            args.run_name = args.run_name or out.stem
            try:
                super().setup(args, state, model, **kwargs)
            except wandb.errors.Error as error:
                hint = "`wandb login`, or WANDB_MODE=offline to write on this machine only"
                raise UsageError(f"Weights & Biases cannot be reported to: {error}", hint=hint) from error
            if state.is_world_process_zero:
                wandb.config.update(settings, allow_val_change=True)

        def on_train_end(self, args, state, control, **kwargs):
            super().on_train_end(args, state, control, **kwargs)
            if self.own and wandb.run is not None:
                wandb.finish()

        def on_predict(self, args, state, control, metrics, **kwargs):
            """After the training, so the run has ended."""

    return ReportToWandb()
