"""Training: memories, classifier and LayerNorms over a frozen encoder, by transformers' Trainer.

Run under `accelerate launch` it spreads over processes or machines. After every epoch it keeps a checkpoint
beside the output, from which an interrupted training can go on. The epoch that is best on the evaluation file
is the one that is saved.

Loss: cross entropy, or for regression the squared error of standardised labels, plus the load-balancing loss
of the original implementation: mean over layers of sum over parents of (mean parent weight)^2 * E, which is 1
when all parents are used alike, times a strength.

Legend: B batch, L tokens, E parents, C classes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spartanc.compiler.errors import UsageError
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.checkpoint import EVAL_EXAMPLES, TrainedModel, load_model, save_model
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.faster import PRECISIONS, faster
from spartanc.models.memory import SpartanConfig
from spartanc.models.start import TEXTS, start_memories
from spartanc.runtime_py.data import Example, label_indices, label_numbers, read_examples
from spartanc.runtime_py.text import TextEncoder

MAX_LENGTH = 128


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Defaults were chosen on development splits (MiniLM of 6 layers, 2,000 training rows, 3 epochs), rates and batch size
    with memories that were still drawn at random; CONTRIBUTING.md has what was tried since. Lower rates
    suit many classes with few examples each (Banking77: 0.882 at 1e-3 and 2e-3, 0.872 at 3e-3), higher ones suit
    what the encoder does not separate by itself (TREC: 0.88 at 1e-3, 0.94 at 3e-3). Batches of 8 beat 16 with a
    random head (SMS spam: 0.989 against 0.976). A fitted head is no better, and where the encoder's pooled output
    hardly varies its weights run to thousands: logits of hundreds follow, which fp32 can't hold to 1e-4.

    lr: learning rate of the memories; head_lr: of the classifier; norm_lr: of the LayerNorms.
    evaluations: how often to evaluate in all; None is after every epoch.
    fit_head: start the classifier as a linear model of the untrained encoder's output.
    parent_scale, key_scale: by how much logits vary between tokens at first, see `start.py`; value_std: of values.
    load_balance: strength of the load-balancing loss. dropout: whether the frozen encoder's dropout is on.
    precision: `bf16` computes products with frozen weights in bfloat16, in training and in choosing the best epoch.
    """

    epochs: float = 3
    seed: int = 0
    lr: float = 3e-3
    norm_lr: float = 3e-3
    head_lr: float = 1e-2
    batch_size: int = 8
    warmup: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    load_balance: float = 0.01
    dropout: bool = False
    max_length: int = MAX_LENGTH
    fit_head: bool = False
    evaluations: int | None = None
    parent_scale: float = 1.0
    key_scale: float = 2.0
    value_std: float = 0.02
    precision: str = "fp32"

    def __post_init__(self):
        for name in ("batch_size", "max_length"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"training: {name} must be a whole number of at least 1, got `{value}`")
        for name in ("epochs", "lr", "head_lr", "norm_lr", "warmup", "weight_decay", "max_grad_norm", "load_balance"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise UsageError(f"training: {name} must be a number of at least 0, got `{value}`")
        if self.epochs == 0:
            raise UsageError("training: epochs must be above 0")
        if self.warmup > 1:
            raise UsageError(f"training: warmup is a share of all steps, got `{self.warmup}`")
        if self.precision not in PRECISIONS:
            raise UsageError(f"training: precision `{self.precision}` is not one of {', '.join(PRECISIONS)}")

    def changed(
        self, epochs: float, seed: int, max_length: int, learning_rate: float | None, batch_size: int | None
    ) -> TrainSettings:
        """These settings with a command's options; a learning rate scales those of all groups alike."""
        scale = 1.0 if learning_rate is None or not self.lr else learning_rate / self.lr
        return replace(
            self,
            epochs=epochs,
            seed=seed,
            max_length=max_length,
            batch_size=self.batch_size if batch_size is None else batch_size,
            lr=self.lr if learning_rate is None else learning_rate,
            head_lr=self.head_lr * scale,
            norm_lr=self.norm_lr * scale,
        )


class TrainingModule(nn.Module):
    """What the Trainer trains: a classifier with its loss; `labels` are class indices, or standardised
    numbers.
    """

    def __init__(self, classifier: SpartanClassifier, problem: str, load_balance: float, dropout: bool):
        super().__init__()
        self.classifier = classifier
        self.problem = problem
        self.load_balance = load_balance
        self.dropout = dropout
        self._weights: list[Tensor] = []
        if load_balance:
            for memory in classifier.memories():
                memory.selected.register_forward_hook(self._keep_weights)

    def _keep_weights(self, module: nn.Module, args: tuple, weights_BLE: Tensor) -> None:
        if self.training:
            self._weights.append(weights_BLE)

    def train(self, mode: bool = True) -> TrainingModule:
        super().train(mode)
        if not self.dropout:
            self.classifier.eval()
        return self

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        self._weights.clear()
        logits_BC = self.classifier(input_ids, attention_mask)
        if labels is None:
            return {"logits": logits_BC}
        if self.problem == "regression":
            loss = functional.mse_loss(logits_BC.squeeze(-1), labels)
        else:
            loss = functional.cross_entropy(logits_BC, labels)
        if self._weights:
            loss = loss + self.load_balance * load_balancing_loss(self._weights, attention_mask)
            self._weights.clear()
        return {"loss": loss, "logits": logits_BC}


def load_balancing_loss(weights: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Mean over layers of E * sum over parents of (mean weight over all real tokens)^2; 1 at equal use."""
    real_BL1 = attention_mask.unsqueeze(-1).to(weights[0].dtype)
    count = real_BL1.sum()
    losses = []
    for weights_BLE in weights:
        mean_E = (weights_BLE * real_BL1).sum((0, 1)) / count
        losses.append(weights_BLE.shape[-1] * mean_E.square().sum())
    return torch.stack(losses).mean()


class EncodedExamples(torch.utils.data.Dataset):
    """Examples as token ids with their target."""

    def __init__(self, examples: Sequence[Example], targets: Sequence[int | float], encoder: TextEncoder):
        encoded = [encoder.encode(example.text, example.text_pair) for example in examples]
        self.truncated = sum(row.truncated for row in encoded)
        self.rows: list[dict[str, Any]] = [
            {"input_ids": row.ids, "labels": target} for row, target in zip(encoded, targets, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]

    def by_length(self, indices: Sequence[int] | None = None) -> EncodedExamples:
        """The same rows, or those of `indices`, shortest first."""
        other = copy.copy(self)
        rows = self.rows if indices is None else [self.rows[index] for index in indices]
        other.rows = sorted(rows, key=lambda row: len(row["input_ids"]))
        return other

    def batches(self, pad_id: int, size: int = 64) -> Iterator[dict[str, Tensor]]:
        """The rows in their order, `size` at a time."""
        for first in range(0, len(self.rows), size):
            yield pad_rows(self.rows[first : first + size], pad_id)


def pad_rows(rows: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """One batch of rows, padded to the longest."""
    length = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), length), pad_id)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        size = len(row["input_ids"])
        ids[index, :size] = torch.tensor(row["input_ids"])
        mask[index, :size] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["labels"] for row in rows])}


def parameter_groups(module: TrainingModule, settings: TrainSettings) -> list[dict[str, Any]]:
    """Freeze the backbone; the task's parameters in groups, each with its own learning rate."""
    classifier = module.classifier
    task = set(classifier.task_names())
    head = tuple(f"network.{prefix}" for prefix in classifier.adapter.head)
    norms = {
        parameter for part in classifier.modules() if isinstance(part, nn.LayerNorm) for parameter in part.parameters()
    }
    groups: dict[str, list[nn.Parameter]] = {"memory": [], "norm": [], "head": []}
    for name, parameter in classifier.named_parameters():
        parameter.requires_grad_(name in task)
        if name in task:
            groups["norm" if parameter in norms else "head" if name.startswith(head) else "memory"].append(parameter)
    return [
        {"params": groups["memory"], "lr": settings.lr, "weight_decay": settings.weight_decay},
        {"params": groups["head"], "lr": settings.head_lr, "weight_decay": settings.weight_decay},
        {"params": groups["norm"], "lr": settings.norm_lr, "weight_decay": 0.0},
    ]


def make_optimizer(module: TrainingModule, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over the task's parameters, the rest frozen; one fused operator for all of a group."""
    return torch.optim.AdamW(parameter_groups(module, settings), fused=True)


def train(
    backbone: str | Path,
    data: str | Path,
    eval: str | Path,
    out: str | Path,
    *,
    epochs: float = 3,
    seed: int = 0,
    samples: bool = True,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_length: int = MAX_LENGTH,
    precision: str = "fp32",
    parents: int = 16,
    cells: int = 48,
    top_k: int = 8,
    temperature: float = 1.6,
    layer_norm: str = "none",
    layers: int | None = None,
    problem: str | None = None,
    init_from: str | Path | None = None,
    resume: bool = False,
    settings: TrainSettings | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train a SPARTAN classifier and write it to `out`; what was done comes back as plain values.

    backbone: an encoder's directory, of which `layers` keeps the first so many layers.
    data, eval: files of labelled examples; the epoch that is best on `eval` is saved.
    samples: whether 32 of the evaluation examples go into the model, for `compile` to prove its result on.
    learning_rate: of the memories; the classifier's and the LayerNorms' go with it in their measured ratio.
    max_length: tokens a text, or what the encoder can take where that is less.
    precision: of products with frozen weights, `fp32` or `bf16`; see `faster.py`.
    problem: `classification` or `regression`; by default regression if every label is a number.
    init_from: a trained model over the same encoder whose memories, LayerNorms and, where the labels are the
    same, classifier are started from.
    resume: go on from the last checkpoint beside `out`, which an interrupted training left.
    settings: all that this signature leaves at measured values; what it names is taken from the arguments.
    report: called with a line of text now and then; by default they go to stderr.

    Raises UsageError for wrong input, UnsupportedModelError for an encoder that is not supported.
    """
    spartan, out = SpartanConfig(parents, cells, top_k, temperature, layer_norm), Path(out)
    settings = (settings or TrainSettings()).changed(epochs, seed, max_length, learning_rate, batch_size)
    settings = replace(settings, precision=precision)
    say = report or _say_on_stderr
    if out.is_dir():
        raise UsageError(f"`{out}` is a directory", hint="give the name of a file: --out model.pt")
    train_examples, eval_examples = read_examples(data), read_examples(eval)
    problem, labels = find_labels(train_examples, data, problem)
    encoder_files = load_backbone(backbone, layers)
    torch.manual_seed(settings.seed)
    pairs = any(example.text_pair is not None for example in train_examples)
    classifier = build_classifier(encoder_files, spartan, max(1, len(labels)), pairs)
    longest = classifier.max_length()
    if settings.max_length > longest:
        say(f"the encoder takes at most {longest} tokens a text")
    max_length = min(settings.max_length, longest)
    encoder = TextEncoder(encoder_files.tokenizer, max_length)

    scale = (0.0, 1.0)
    if problem == "regression":
        numbers = label_numbers(train_examples, data)
        scale = (float(np.mean(numbers)), float(np.std(numbers)) or 1.0)
        targets: list[Sequence[int | float]] = [
            [(number - scale[0]) / scale[1] for number in values]
            for values in (numbers, label_numbers(eval_examples, eval))
        ]
    else:
        targets = [label_indices(train_examples, labels, data), label_indices(eval_examples, labels, eval)]
    train_rows = EncodedExamples(train_examples, targets[0], encoder)
    eval_rows = EncodedExamples(eval_examples, targets[1], encoder)
    if train_rows.truncated:
        say(f"{train_rows.truncated} of {len(train_rows)} training texts exceed {max_length} tokens")

    identity = {
        "settings": asdict(settings),
        "spartan": asdict(spartan),
        "layers": layers,
        "init_from": None if init_from is None else file_digest(init_from),
        "data": [file_digest(path) for path in (data, eval)],
    }
    if init_from is not None:
        copy_task(load_model(init_from), classifier, labels)
    else:
        start(classifier, problem, train_rows, settings)
    module = TrainingModule(classifier, problem, settings.load_balance, settings.dropout)
    work = out.with_name(f".{out.name}.training")
    result = run_trainer(module, settings, train_rows, eval_rows, work, identity, say, resume)
    if problem == "regression":
        restore_scale(classifier, *scale)
    classifier.eval()
    summary = {
        "model": str(out),
        "problem": problem,
        "labels": list(labels),
        "train_rows": len(train_rows),
        "eval_rows": len(eval_rows),
        "truncated": train_rows.truncated,
        "trainable_parameters": sum(value.numel() for value in classifier.parameters() if value.requires_grad),
        **result,
    }
    if result["main_process"]:
        chosen = random.Random(settings.seed).sample(range(len(eval_examples)), min(EVAL_EXAMPLES, len(eval_examples)))
        kept = tuple(eval_examples[index] for index in sorted(chosen)) if samples else ()
        trained = TrainedModel(
            classifier,
            json.loads(classifier.config.to_json_string(use_diff=False)),
            spartan,
            encoder_files.tokenizer,
            labels,
            problem,
            kept,
            {
                **identity,
                "results": {name: summary[name] for name in ("train_rows", "eval_rows", "best", "history")},
            },
        )
        save_model(trained, out)
        shutil.rmtree(work, ignore_errors=True)
    del summary["main_process"]
    return summary


def find_labels(examples: Sequence[Example], path: str | Path, problem: str | None) -> tuple[str, tuple[str, ...]]:
    """The problem, and for classification the names of its classes in order."""
    for example in examples:
        if example.label is None:
            raise UsageError(f"`{path}` line {example.line}: no `label`", hint="training needs every label")
    if problem is None:
        numbers = all(not isinstance(example.label, str) for example in examples)
        problem = "regression" if numbers else "classification"
    if problem == "regression":
        return problem, ()
    if problem != "classification":
        raise UsageError(f"problem `{problem}` is not one of classification, regression")
    labels = tuple(sorted({str(example.label) for example in examples}))
    if len(labels) < 2:
        raise UsageError(f"`{path}` has one label only: `{labels[0]}`", hint="a classifier needs two at least")
    return problem, labels


def copy_task(source: TrainedModel, target: SpartanClassifier, labels: Sequence[str]) -> None:
    """Start `target` from another task's memories and LayerNorms, and its classifier if the labels are
    the same.
    """
    state = target.state_dict()
    head = tuple(f"network.{prefix}" for prefix in target.adapter.head)
    given = {
        name: tensor
        for name, tensor in source.task_tensors().items()
        if tuple(labels) == source.labels or not name.startswith(head)
    }
    wanted = {name for name in target.task_names() if tuple(labels) == source.labels or not name.startswith(head)}
    for name in sorted(wanted ^ set(given)) or sorted(wanted):
        if name not in given or name not in wanted or state[name].shape != given[name].shape:
            raise UsageError(f"the model to start from does not fit: `{name}`", hint="same encoder, same memory")
    for name, tensor in given.items():
        state[name].copy_(tensor)


def start(classifier: SpartanClassifier, problem: str, rows: EncodedExamples, settings: TrainSettings) -> None:
    """Bring what is trained to where training starts, as far as that depends on the data."""
    for memory in classifier.memories():
        nn.init.normal_(memory.values, std=settings.value_std)
    if classifier.memories():
        drawn = random.Random(settings.seed).sample(range(len(rows)), min(TEXTS, len(rows)))
        texts = list(rows.by_length(drawn).batches(classifier.config.pad_token_id or 0))
        start_memories(classifier, texts, settings.parent_scale, settings.key_scale, settings.seed)
    if settings.fit_head:
        fit_head(classifier, problem, rows)


def last_linear(classifier: SpartanClassifier) -> nn.Linear:
    """The head's linear that gives the logits."""
    head = tuple(f"network.{prefix}" for prefix in classifier.adapter.head)
    linears = [
        module
        for name, module in classifier.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.".startswith(head)
    ]
    outputs = classifier.config.num_labels
    return [linear for linear in linears if linear.out_features == outputs][-1]


def restore_scale(classifier: SpartanClassifier, mean: float, deviation: float) -> None:
    """Fold the standardisation of regression labels into the head, so that it gives scores."""
    linear = last_linear(classifier)
    with torch.no_grad():
        linear.weight.mul_(deviation)
        linear.bias.mul_(deviation).add_(mean)


def fit_head(classifier: SpartanClassifier, problem: str, rows: EncodedExamples, strength: float = 10.0) -> None:
    """Start the head's last linear as a regularised linear model of what reaches it before any training.

    A head drawn at random spends the first epoch on finding its classes, and bends the encoder meanwhile
    (Kumar et al. 2022, arXiv 2202.10054). strength: of the L2 penalty, in examples' worth.
    """
    linear = last_linear(classifier)
    rows = rows.by_length()
    seen: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    pad_id = classifier.config.pad_token_id or 0
    was_training = classifier.training
    classifier.eval()
    try:
        with torch.no_grad():
            for batch in rows.batches(pad_id):
                classifier(batch["input_ids"], batch["attention_mask"])
    finally:
        handle.remove()
        classifier.train(was_training)
    x_ND = torch.cat(seen).float()
    targets = torch.tensor([row["labels"] for row in rows.rows])
    mean_D, deviation_D = x_ND.mean(0), x_ND.std(0, correction=0).clamp_min(1e-6)
    x_ND = (x_ND - mean_D) / deviation_D
    weight = torch.zeros_like(linear.weight, requires_grad=True)
    bias = torch.zeros_like(linear.bias, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = functional.linear(x_ND, weight, bias)
        if problem == "regression":
            loss = functional.mse_loss(logits.squeeze(-1), targets)
        else:
            loss = functional.cross_entropy(logits, targets)
        loss = loss + strength / len(targets) * weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        linear.weight.copy_(weight / deviation_D)
        linear.bias.copy_(bias - linear.weight @ mean_D)


def evaluate(classifier: SpartanClassifier, problem: str, rows: EncodedExamples, precision: str = "fp32") -> float:
    """Accuracy or correlation of a classifier on rows, without gradients."""
    classifier.eval()
    logits, targets = [], []
    with torch.no_grad(), faster(classifier, precision):
        for batch in rows.by_length().batches(classifier.config.pad_token_id or 0):
            logits.append(classifier(batch["input_ids"], batch["attention_mask"]))
            targets.append(batch["labels"])
    return score(problem, torch.cat(logits).numpy(), torch.cat(targets).numpy())


def file_digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def score(problem: str, logits: np.ndarray, targets: np.ndarray) -> float:
    """Accuracy, or for regression Pearson's correlation (0 where either side is constant)."""
    if problem == "classification":
        return float((logits.argmax(-1) == targets).mean())
    predicted = logits.reshape(-1)
    if predicted.std() == 0 or targets.std() == 0:
        return 0.0
    return float(np.corrcoef(predicted, targets)[0, 1])


def run_trainer(
    module: TrainingModule,
    settings: TrainSettings,
    train_rows: EncodedExamples,
    eval_rows: EncodedExamples,
    work: Path,
    identity: dict[str, Any],
    say: Callable[[str], None],
    resume: bool = False,
) -> dict[str, Any]:
    """Train `module` in place and leave it as it was at its best epoch; with `resume`, go on from `work`."""
    import transformers
    from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments

    transformers.utils.logging.set_verbosity_error()
    metric = "accuracy" if module.problem == "classification" else "correlation"
    checkpoint = _prepare_work(work, identity, resume)
    when: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_strategy": "epoch"}
    if settings.evaluations is not None:
        steps = math.ceil(len(train_rows) / settings.batch_size) * settings.epochs
        every = max(1, int(steps // settings.evaluations))
        when = {f"{name}_strategy": "steps" for name in ("eval", "save", "logging")}
        when |= {f"{name}_steps": every for name in ("eval", "save", "logging")}
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        **when,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=True,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
    )
    pad_id = module.classifier.config.pad_token_id or 0
    optimizer = make_optimizer(module, settings)
    trainer = Trainer(
        model=module,
        args=arguments,
        data_collator=lambda rows: pad_rows(rows, pad_id),
        train_dataset=train_rows,
        eval_dataset=eval_rows.by_length(),  # batches of like lengths: the score does not depend on the order
        compute_metrics=lambda prediction: {
            metric: score(module.problem, np.asarray(prediction.predictions), np.asarray(prediction.label_ids))
        },
        optimizers=(optimizer, None),
    )
    for callback in (PrinterCallback, ProgressCallback):  # stdout belongs to results
        trainer.remove_callback(callback)
    main = trainer.is_world_process_zero()
    if main and checkpoint:
        say(f"going on from {checkpoint.name}")
    progress = _progress(metric, say, main)
    trainer.add_callback(progress)
    started = time.perf_counter()
    with faster(module.classifier, settings.precision):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.perf_counter() - started
    trainer.accelerator.wait_for_everyone()  # all have read the best checkpoint before it is deleted
    history = [
        {"epoch": round(entry["epoch"], 4), metric: entry[f"eval_{metric}"], "loss": entry["eval_loss"]}
        for entry in trainer.state.log_history
        if f"eval_{metric}" in entry
    ]
    for entry, moment in zip(reversed(history), reversed(progress.moments), strict=False):
        entry["seconds"] = moment - started
    return {
        "main_process": main,
        "seconds": seconds,
        "steps": trainer.state.global_step,
        "history": history,
        "best": {metric: trainer.state.best_metric},
    }


def _prepare_work(work: Path, identity: dict[str, Any], resume: bool) -> Path | None:
    """The checkpoint to go on from, if that is asked for and `work` holds one; else an empty `work`."""
    stamp = work / "identity.json"
    content = json.dumps(identity, sort_keys=True)
    if resume:
        checkpoints = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
        complete = [path for path in checkpoints if (path / "trainer_state.json").is_file()]
        if complete:
            if not stamp.is_file() or stamp.read_text() != content:
                raise UsageError(
                    f"`{work}` holds a training with other settings or data",
                    hint="give the same ones to go on, or start anew without --resume",
                )
            return complete[-1]
    if os.environ.get("RANK", "0") != "0":  # of several processes, the first one prepares
        return None
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        stamp.write_text(content)
    except OSError as error:
        raise UsageError(f"cannot write beside the output: {error}") from error
    return None


def _say_on_stderr(line: str) -> None:
    from rich.console import Console

    if os.environ.get("RANK", "0") == "0":
        Console(stderr=True).print(line, highlight=False, markup=False)


def _progress(metric: str, say: Callable[[str], None], main: bool):
    """A callback that shows steps on a terminal, says what every evaluation came to, and keeps when it was."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from transformers import TrainerCallback

    class ShowProgress(TrainerCallback):
        def __init__(self):
            console = Console(stderr=True)
            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=console, transient=True, disable=not (main and console.is_terminal))
            self.moments: list[float] = []
            self.task = self.bar.add_task("training", start=False)

        def on_train_begin(self, args, state, control, **kwargs):
            self.bar.start()
            self.bar.start_task(self.task)
            self.bar.update(self.task, total=state.max_steps, completed=state.global_step)

        def on_step_end(self, args, state, control, **kwargs):
            self.bar.update(self.task, completed=state.global_step)

        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            if metrics and f"eval_{metric}" in metrics:
                self.moments.append(time.perf_counter())
                if main:
                    say(f"epoch {state.epoch:.3g}: {metric} {metrics[f'eval_{metric}']:.4f}")

        def on_train_end(self, args, state, control, **kwargs):
            self.bar.stop()

    return ShowProgress()
