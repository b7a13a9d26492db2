"""Training: memories, classifier and LayerNorms over a frozen encoder, from files of examples to a model file.

The epoch that is best on the evaluation file is the one that is saved; checkpoints beside the output are what an
interrupted training goes on from.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from spartanc.base.pages import check_page
from spartanc.base.progress import say as say_on_stderr
from spartanc.base.results import Result
from spartanc.errors import GateError, Interrupted, UsageError
from spartanc.models.arithmetic.catalogue import find_arithmetic
from spartanc.models.backbone import Backbone, build_classifier, load_backbone
from spartanc.models.checkpoint import TrainedModel, check_vocabulary, load_model, model_digest, save_model
from spartanc.models.choose_pooling import PoolingChoice, choose_pooling
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.examples import EncodedExamples
from spartanc.models.few_shot import are_few, for_few_rows
from spartanc.models.kept_texts import draw_by_class
from spartanc.models.learning import Learning, judge_learning
from spartanc.models.objective import TrainingModule
from spartanc.models.reporters import check_reporter, make_reporter
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.start import TEXTS, start_memories
from spartanc.models.teacher import add_answers, load_teacher
from spartanc.models.trainer import TrainerRun, run_trainer
from spartanc.models.training_data import Say, TaskData, read_task
from spartanc.models.training_metrics import MetricsFile, metrics_path
from spartanc.models.training_page import write_training_page
from spartanc.models.training_versions import training_versions
from spartanc.models.training_work import claimed_work, is_first_process, last_checkpoint, work_of
from spartanc.models.weights import read_json
from spartanc.runtime_py.data import Columns
from spartanc.runtime_py.data.reading import data_digest
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.text import TextEncoder


@dataclass(frozen=True)
class TrainResult(Result):
    """What `spartanc train` did.

    why: what the labels were taken for. pairs: whether a row has two texts. rows: odd rows of each file. held_out: what
    was taken of the training rows where there was no development file, in words.
    pooling: which vector of a text the classifier reads, one of `pooling.POOLINGS`.
    history: every evaluation's epoch, measures, loss, and seconds from the start. metric: the measure that chose the
    one that was saved. best, details: its measures, and what is no single figure (`TaskType.details`). seconds: of the
    training alone.
    majority_accuracy: on the evaluation rows, of always the class that most of them have; None for other task types.
    learned: whether the model is better than one answer to everything beyond doubt, with `p_values` by `learning.py`;
    None for a task type without a test. html: the page, if one was written. metrics_file: a line an evaluation.
    """

    model: str
    problem: str
    why: str
    pooling: str
    labels: tuple[str, ...]
    pairs: bool
    rows: dict[str, dict[str, int]]
    held_out: str | None
    train_rows: int
    eval_rows: int
    truncated: int
    trainable_parameters: int
    seconds: float
    steps: int
    history: tuple[dict[str, float], ...]
    metric: str
    best: dict[str, float]
    details: dict[str, Any]
    majority_accuracy: float | None
    learned: bool | None
    p_values: dict[str, float]
    html: str | None
    metrics_file: str


def train(request: TrainRequest, report: Say | None = None) -> TrainResult:
    """Train a SPARTAN classifier and write it to `request.out`.

    report: called with a line of text now and then; by default they go to stderr.

    Raises UsageError for wrong input, UnsupportedModelError for an encoder that is not supported, GateError where the
    training diverged, Interrupted (a KeyboardInterrupt) with what is there to go on from.
    """
    try:
        return _train(request, report or (say_on_stderr if is_first_process() else say_nothing))
    except Interrupted:
        raise
    except KeyboardInterrupt as interruption:  # before the training began
        if request.resume and last_checkpoint(work_of(request.out)) is not None:
            raise _interrupted(request) from interruption
        raise


def _train(request: TrainRequest, say: Say) -> TrainResult:
    check_output(request)
    data = read_task(request, say)
    settings = settings_for_rows(request, data, say)
    weights = class_weights(data, settings)
    backbone = load_backbone(request.backbone, request.layers)
    source = None if request.init_from is None else load_model(request.init_from)
    pooling = find_pooling(request, backbone, source)
    torch.manual_seed(settings.seed)
    classifier = build_classifier(backbone, request.spartan, data.outputs, data.has_pairs, pooling.pooling)
    find_arithmetic(settings.arithmetic).check_memories(classifier.config.hidden_size)
    say(describe_start(backbone, pooling))
    train_rows, eval_rows = encode_rows(data, backbone, classifier, settings, say)
    if request.teacher is not None:
        add_answers(train_rows, data, load_teacher(request.teacher, data), settings.max_length)
    if source is None:
        start(classifier, train_rows, settings)
    else:
        require_same_encoder(source, classifier, str(request.init_from))
        copy_task(source, classifier, data.labels)
    module = TrainingModule(classifier, data.task_type, settings.load_balance, settings.dropout, weights)
    identity = identity_of(request, settings, data, backbone, classifier)
    told = asdict(settings) | {f"memory {name}": value for name, value in asdict(request.spartan).items()}
    reporter = make_reporter(request.report_to, request.out, told)
    metrics = MetricsFile(metrics_path(request.out))
    work = work_of(request.out)
    with claimed_work(work, request.out):
        try:
            unit = (data.mean, data.deviation)
            run = run_trainer(
                module, settings, train_rows, eval_rows, work, identity, say, request.resume, unit, metrics, reporter
            )
            task_type = data.task_type.fitted(run.logits, run.targets)
            learning = tell_learning(request, data, run, say)
            details = task_type.details(run.logits, run.targets, data.labels)
        except KeyboardInterrupt as interruption:
            raise _interrupted(request) from interruption
        except GateError:
            shutil.rmtree(work, ignore_errors=True)  # going on would end in the same way
            raise
        except UsageError:
            leave_nothing(request)
            raise
        if data.task_type.standardised:
            restore_scale(classifier, data.mean, data.deviation)
        classifier.eval()
        if run.main_process:
            model = trained_model(
                request, settings, data, backbone, classifier, identity, run, learning, details, task_type
            )
            save_model(model, request.out)
            shutil.rmtree(work, ignore_errors=True)
    always = data.task_type.constant_answer(run.targets.tolist(), data.labels)
    result = TrainResult(
        model=str(request.out),
        problem=data.task_type.name,
        why=data.decision.why,
        pooling=classifier.pooling,
        labels=data.labels,
        pairs=data.has_pairs,
        rows=data.counts,
        held_out=data.held_out,
        train_rows=len(train_rows),
        eval_rows=len(eval_rows),
        truncated=train_rows.truncated,
        trainable_parameters=sum(value.numel() for value in classifier.parameters() if value.requires_grad),
        seconds=run.seconds,
        steps=run.steps,
        history=run.history,
        metric=run.metric,
        best=run.best,
        details=details,
        majority_accuracy=None if always is None else always[1],
        learned=None if learning is None else learning.learned,
        p_values={} if learning is None else learning.p_values,
        html=None if request.html is None else str(request.html),
        metrics_file=str(metrics.path),
    )
    if request.html is not None and run.main_process:
        write_training_page(request.html, result.as_json(), told, data, task_type, run, classifier, eval_rows, learning)
    return result


def tell_learning(request: TrainRequest, data: TaskData, run: TrainerRun, say: Say) -> Learning | None:
    """Say whether anything was learned; GateError where it was not and that is required."""
    learning = judge_learning(data.task_type, run.logits, run.targets.tolist(), data.labels, len(run.history))
    if learning is None:
        return None
    if not learning.learned and request.require_learning:
        raise GateError(
            f"{learning.line}; no model was written",
            hint="more rows, another --learning-rate, --layers or --class-weights balanced may help",
        )
    say(learning.line if learning.learned else f"warning: {learning.line}")
    return learning


def class_weights(data: TaskData, settings: TrainSettings) -> torch.Tensor | None:
    """float32 [C], by which every class counts alike in the loss; None where each row counts alike."""
    if settings.class_weights == "none":
        return None
    weights_C = data.task_type.class_weights(data.train_targets, data.outputs)
    if weights_C is None:
        raise UsageError(f"--class-weights needs classes, and a {data.task_type.name} has none")
    return torch.tensor(weights_C, dtype=torch.float32)


def leave_nothing(request: TrainRequest) -> bool:
    """Take away what a training that has ended early wrote, if there is nothing to go on from; whether that was so."""
    work = work_of(request.out)
    if last_checkpoint(work) is not None:
        return False
    shutil.rmtree(work, ignore_errors=True)
    metrics_path(request.out).unlink(missing_ok=True)
    return True


def _interrupted(request: TrainRequest) -> Interrupted:
    if leave_nothing(request):
        return Interrupted("interrupted before the first checkpoint; nothing was left behind")
    checkpoint = last_checkpoint(work_of(request.out))
    assert checkpoint is not None
    epoch = read_json(checkpoint / "trainer_state.json").get("epoch")
    return Interrupted(
        f"interrupted; `{checkpoint}` holds the training up to epoch {epoch:.3g}, `{request.out}` was not written",
        goes_on=True,
    )


def check_output(request: TrainRequest) -> None:
    if request.out.is_dir():
        raise UsageError(f"`{request.out}` is a directory", hint="give the name of a file: --out model.pt")
    if request.out.exists() and not request.overwrite:
        raise UsageError(f"`{request.out}` exists", hint="--overwrite replaces it when the training has ended well")
    if request.html is not None:
        check_page(request.html)
    if request.html is not None and request.html.absolute() == request.out.absolute():
        raise UsageError(f"`{request.html}` is the model's own place", hint="give --html another name")
    metrics = metrics_path(request.out)
    if metrics.is_dir() or metrics.absolute() in {each.absolute() for each in (request.data, request.eval) if each}:
        raise UsageError(f"`{metrics}` is where the course of the training is written", hint="give another --out")
    check_reporter(request.report_to)


def settings_for_rows(request: TrainRequest, data: TaskData, say: Say) -> TrainSettings:
    count = len(data.train_examples)
    if not (request.adapt and are_few(count, request.settings)):
        return request.settings
    settings = for_few_rows(request.settings, count, len(data.labels))
    say(f"{count} rows are few: {settings.epochs} epochs, and rates for few rows")
    return settings


def encode_rows(
    data: TaskData, backbone: Backbone, classifier: SpartanClassifier, settings: TrainSettings, say: Say
) -> tuple[EncodedExamples, EncodedExamples]:
    """Training and evaluation rows as token ids, no longer than settings and encoder allow."""
    longest = classifier.max_length()
    if settings.max_length > longest:
        say(f"the encoder takes at most {longest} tokens a text")
    encoder = TextEncoder(backbone.tokenizer, min(settings.max_length, longest))
    check_vocabulary(encoder, classifier)
    train_rows = EncodedExamples(data.train_examples, data.train_targets, encoder, data.train_source)
    if train_rows.truncated:
        say(f"{train_rows.truncated} of {len(train_rows)} training texts exceed {encoder.max_length} tokens")
    return train_rows, EncodedExamples(data.eval_examples, data.eval_targets, encoder, data.eval_source)


def find_pooling(request: TrainRequest, backbone: Backbone, source: TrainedModel | None) -> PoolingChoice:
    """What `--pooling` stands for; `auto` is what the model to start from has, where there is one."""
    if source is not None and request.pooling == "auto":
        return PoolingChoice(source.module.pooling, f"as in `{request.init_from}`")
    return choose_pooling(backbone, request.pooling)


def describe_start(backbone: Backbone, pooling: PoolingChoice) -> str:
    """One line: what was loaded, what the classifier reads and why, what was left out."""
    word = "pooler" if pooling.pooling == "task_pooler" else pooling.pooling
    left = backbone.without_use()
    return f"encoder: {len(backbone.tensors)} tensors of `{backbone.directory}`; pooling: {word} ({pooling.reason})" + (
        f"; left out: {left}" if left else ""
    )


def identity_of(
    request: TrainRequest,
    settings: TrainSettings,
    data: TaskData,
    backbone: Backbone,
    classifier: SpartanClassifier,
) -> dict[str, Any]:
    """What a training must have in common with the one that it goes on with."""
    return {
        "settings": asdict(settings),
        "spartan": asdict(request.spartan),
        "layers": request.layers,
        "problem": data.task_type.name,
        "labels": list(data.labels),
        "pooling": classifier.pooling,
        "encoder": backbone.digests(),
        "init_from": None if request.init_from is None else model_digest(request.init_from),
        "teacher": None if request.teacher is None else model_digest(request.teacher),
        "columns": columns_as_json(request.columns or Columns()),
        "data": {
            "train": data_digest(request.data),
            "eval": None if request.eval is None else data_digest(request.eval),
        },
    }


def columns_as_json(columns: Columns) -> list[str]:
    return [*columns.names, *([] if columns.separator is None else [columns.separator])]


def trained_model(
    request: TrainRequest,
    settings: TrainSettings,
    data: TaskData,
    backbone: Backbone,
    classifier: SpartanClassifier,
    identity: dict[str, Any],
    run: TrainerRun,
    learning: Learning | None,
    details: dict[str, Any],
    task_type: TaskType,
) -> TrainedModel:
    """What is saved: the classifier with up to 1,000 evaluation texts and what is known of its training."""
    strata = data.task_type.strata(data.eval_examples, data.labels, data.eval_source)
    chosen = draw_by_class(strata.indices, seed=settings.seed)
    kept = tuple(data.eval_examples[index] for index in chosen) if request.samples else ()
    results = {
        "train_rows": len(data.train_examples),
        "eval_rows": len(data.eval_examples),
        "rows": data.counts,
        "held_out": data.held_out,
        "metric": run.metric,
        "best": run.best,
        "details": details,
        "learned": None if learning is None else learning.learned,
        # Without times: the same training gives the same bytes.
        "history": [{name: value for name, value in each.items() if name != "seconds"} for each in run.history],
    }
    return TrainedModel(
        classifier,
        json.loads(classifier.config.to_json_string(use_diff=False)),
        request.spartan,
        backbone.tokenizer,
        data.labels,
        data.task_type.name,
        kept,
        {**identity, "versions": training_versions(), "results": results},
        pairs=data.has_pairs,
        thresholds=task_type.thresholds,
    )


def require_same_encoder(source: TrainedModel, target: SpartanClassifier, name: str) -> None:
    """Memories fit the encoder that they were trained on: its tensors, not only its shapes."""
    theirs, state, own = source.backbone_tensors(), target.state_dict(), set(target.task_names())
    if all(torch.equal(theirs[each], state[each]) for each in theirs if each in state and each not in own):
        return
    slimmed = [getattr(module.config, "slimmed", None) for module in (source.module, target)]
    if slimmed[0] != slimmed[1]:
        raise UsageError(
            f"`{name}` was trained on the encoder before it was slimmed, or on one slimmed otherwise",
            hint=f"memories do not fit a slimmer encoder; --teacher {name} lets the new task learn from that model",
        )
    raise UsageError(f"`{name}` was trained on another encoder", hint="start from a model of this one")


def copy_task(source: TrainedModel, target: SpartanClassifier, labels: Sequence[str]) -> None:
    """Start `target` from another task's memories and LayerNorms, and its classifier if the labels are
    the same.
    """
    state = target.state_dict()
    head = target.head_prefixes()
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


def start(classifier: SpartanClassifier, rows: EncodedExamples, settings: TrainSettings) -> None:
    """Bring what is trained to where training starts, as far as that depends on the data."""
    for memory in classifier.memories():
        nn.init.normal_(memory.values, std=settings.value_std)
    if classifier.memories():
        drawn = random.Random(settings.seed).sample(range(len(rows)), min(TEXTS, len(rows)))
        texts = list(rows.by_length(drawn).batches(classifier.config.pad_token_id or 0))
        start_memories(classifier, texts, settings.parent_scale, settings.key_scale, settings.seed)


def restore_scale(classifier: SpartanClassifier, mean: float, deviation: float) -> None:
    """Fold the standardisation of regression labels into the head, so that it gives scores."""
    linear = classifier.last_linear()
    with torch.no_grad():
        linear.weight.mul_(deviation)
        linear.bias.mul_(deviation).add_(mean)


def say_nothing(_line: str) -> None:
    """Of several processes of one training only the first one speaks."""
