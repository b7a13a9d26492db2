"""What to train and how: every number of a training, with the defaults that development splits chose."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.models.arithmetic.catalogue import ARITHMETICS
from spartanc.models.faster import PRECISIONS
from spartanc.models.memory import SpartanConfig
from spartanc.models.sparsifiers.catalogue import SPARSIFIERS
from spartanc.runtime_py.data import Columns
from spartanc.runtime_py.task_types.decision import AUTO

MAX_LENGTH = 128
CLASS_WEIGHTS = ("none", "balanced")
# Second-order has to be told what a removal costs, which nobody knows of a memory that is still being trained.
MEMORY_SPARSIFIERS = tuple(each.name for each in SPARSIFIERS if not each.needs_saliency)


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Defaults were chosen on development splits (MiniLM, up to 2,000 training rows, 3 epochs), the memories' rate and the
    batch size with memories that were still drawn at random; docs/training-notes.md has what was tried since. Lower
    rates suit many classes with few examples each (Banking77: 0.882 at 1e-3 and 2e-3, 0.872 at 3e-3), higher ones suit
    what the encoder does not separate by itself (TREC: 0.88 at 1e-3, 0.94 at 3e-3). Batches of 8 beat 16 with a
    random head (SMS spam: 0.989 against 0.976). A fitted head is no better, and where the encoder's pooled output
    hardly varies its weights run to thousands: logits of hundreds follow, which fp32 can't hold to 1e-4.

    lr: learning rate of parents and keys; values_lr: of the memories' values; head_lr: of the classifier; norm_lr: of
    the LayerNorms.
    evaluations: how often to evaluate, evenly, and after the last step too; None is after every epoch.
    parent_scale, key_scale: by how much logits vary between tokens at first, see `start.py`; value_std: of values.
    load_balance: strength of the load-balancing loss. dropout: whether the frozen encoder's dropout is on.
    precision: `bf16` computes products with frozen weights in bfloat16, in training and in choosing the best epoch.
    arithmetic: how the forward pass rounds: `int8` and `int4` as programs of `--quantize` do, `fp32` not at all.
    Trained on `int8`, which boards run by default, models lose nothing in fp32 (docs/training-notes.md).
    metric: which measure on the development rows chooses the epoch that is kept; `auto` is the task type's own choice.
    patience: stop after so many evaluations without a better one; None never does.
    class_weights: `balanced` lets every class count alike in the loss, however many rows it has; `none`.
    memory_sparsity: share of zeros in keys and values of every memory; 0 is dense. sparsifier: what chooses them, see
    `sparse_memories.py`.
    """

    epochs: float = 3
    seed: int = 0
    lr: float = 3e-3
    values_lr: float = 3e-3
    norm_lr: float = 1e-3
    head_lr: float = 3e-2
    batch_size: int = 8
    warmup: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    load_balance: float = 0.03
    dropout: bool = False
    max_length: int = MAX_LENGTH
    evaluations: int | None = None
    parent_scale: float = 1.0
    key_scale: float = 2.0
    value_std: float = 0.02
    precision: str = "fp32"
    arithmetic: str = "int8"
    metric: str = AUTO
    patience: int | None = None
    class_weights: str = "none"
    memory_sparsity: float = 0.0
    sparsifier: str = "top-kast"

    def __post_init__(self):
        for name in ("batch_size", "max_length", *(() if self.patience is None else ("patience",))):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"training: {name} must be a whole number of at least 1, got `{value}`")
        rates = ("lr", "values_lr", "head_lr", "norm_lr")
        for name in ("epochs", *rates, "warmup", "weight_decay", "max_grad_norm", "load_balance"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise UsageError(f"training: {name} must be a number of at least 0, got `{value}`")
        if self.epochs == 0:
            raise UsageError("training: epochs must be above 0")
        if self.warmup > 1:
            raise UsageError(f"training: warmup is a share of all steps, got `{self.warmup}`")
        if self.precision not in PRECISIONS:
            raise UsageError(f"training: precision `{self.precision}` is not one of {', '.join(PRECISIONS)}")
        if self.arithmetic not in ARITHMETICS:
            raise UsageError(f"training: arithmetic `{self.arithmetic}` is not one of {', '.join(ARITHMETICS)}")
        if self.class_weights not in CLASS_WEIGHTS:
            raise UsageError(
                f"training: class weights `{self.class_weights}` are not one of {', '.join(CLASS_WEIGHTS)}"
            )
        if not (isinstance(self.memory_sparsity, int | float) and 0 <= self.memory_sparsity < 1):
            raise UsageError(
                f"training: memory sparsity is a share of zeros from 0 to below 1, got `{self.memory_sparsity}`"
            )
        if self.sparsifier not in MEMORY_SPARSIFIERS:
            raise UsageError(f"training: sparsifier `{self.sparsifier}` is not one of {', '.join(MEMORY_SPARSIFIERS)}")

    def changed(
        self,
        *,
        epochs: float | None = None,
        seed: int = 0,
        max_length: int = MAX_LENGTH,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        precision: str = "fp32",
        arithmetic: str = "int8",
        metric: str = AUTO,
        patience: int | None = None,
        class_weights: str = "none",
        memory_sparsity: float = 0.0,
        sparsifier: str = "top-kast",
    ) -> TrainSettings:
        """These settings with a command's options; a learning rate scales those of all groups alike."""
        scaled = self if learning_rate is None or not self.lr else self.scaled(learning_rate / self.lr)
        return replace(
            scaled,
            lr=self.lr if learning_rate is None else learning_rate,
            epochs=self.epochs if epochs is None else epochs,
            seed=seed,
            max_length=max_length,
            batch_size=self.batch_size if batch_size is None else batch_size,
            precision=precision,
            arithmetic=arithmetic,
            metric=metric,
            patience=patience,
            class_weights=class_weights,
            memory_sparsity=memory_sparsity,
            sparsifier=sparsifier,
        )

    def scaled(self, factor: float) -> TrainSettings:
        """All learning rates times `factor`."""
        names = ("lr", "values_lr", "head_lr", "norm_lr")
        return replace(self, **{name: getattr(self, name) * factor for name in names})


@dataclass(frozen=True)
class TrainRequest:
    """What `spartanc train` is asked for.

    backbone: an encoder's directory, of which `layers` keeps the first so many layers.
    data, eval: files of labelled examples; the epoch that is best on `eval` is saved. Without `eval` a tenth of `data`
    is held out for it, drawn class by class by the settings' seed.
    out: the model.pt to write.
    settings: how to train. adapt: where rows are so few that the settings' epochs are a dozen steps, take more of them
    and the rates of `few_shot.py`.
    spartan: the shape of every memory.
    problem: `auto`, `classification`, `regression` or `multilabel`; `spartanc.runtime_py.task_types.decision` says what
    `auto` takes.
    columns: the names of the files' columns, where they are not `text`, `text_pair` and `label`.
    init_from: a trained model over the same encoder whose memories, LayerNorms and, where the labels are the same,
    classifier are started from.
    teacher: a model of the same task whose answers are learned beside the labels, see `teacher.py`.
    pooling: which vector of a text the classifier reads: `auto`, `pooler`, `cls` or `mean`, see `choose_pooling.py`.
    samples: whether evaluation examples go into the model, for `compile` to prove its result on.
    resume: go on from the last checkpoint beside `out`, which an interrupted training left.
    overwrite: whether a file at `out` may be replaced.
    html: where to write a page about the training.
    require_learning: refuse to write a model that is no better than one answer to everything, see `learning.py`.
    report_to: one of `reporters.REPORTERS`.
    """

    backbone: Path
    data: Path
    eval: Path | None
    out: Path
    settings: TrainSettings = field(default_factory=TrainSettings)
    adapt: bool = True
    spartan: SpartanConfig = field(default_factory=SpartanConfig)
    layers: int | None = None
    problem: str = AUTO
    columns: Columns | None = None
    pooling: str = "auto"
    init_from: Path | None = None
    teacher: Path | None = None
    samples: bool = True
    resume: bool = False
    overwrite: bool = False
    html: Path | None = None
    require_learning: bool = False
    report_to: str = "none"
