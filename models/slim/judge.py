"""What slimming cost: hidden states on texts that nothing was fitted to, and labels where files of them are given.

A labelled file is judged by a probe: logistic regression (ridge for numbers) on the texts' mean vectors, trained on
half of the rows and scored on the other half, once for the dense encoder and once for the slim one. It takes seconds
where memories take minutes. Rows are drawn by a seed, at most `MOST_ROWS`, and every class is shared out between both
halves, however the file is sorted. Files are read and checked before anything is computed.

Legend: N rows, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spartanc.errors import UsageError
from spartanc.models.slim.encoder import Encoder
from spartanc.models.slim.texts import Batch, batches
from spartanc.runtime_py.data import read_examples
from spartanc.runtime_py.encoding import encode_examples
from spartanc.runtime_py.task_types.decision import decide_task
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.text import TextEncoder

MOST_ROWS = 4000  # of a labelled file
FEWEST_ROWS = 4  # two in each half, for a standard error


@dataclass(frozen=True)
class JudgingRows:
    """A labelled file as a probe takes it: token ids, targets [N] or [N, C], and the rows of its two halves.

    why: what the labels were taken for. truncated: how many texts were cut.
    """

    path: Path
    task: TaskType
    why: str
    truncated: int
    rows: list[list[int]]
    targets_N: np.ndarray
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Probed:
    """One labelled file. dense, slim: accuracy, or R² for numbers, of probes on the same `rows` unseen rows.

    error: standard error of `slim - dense`, paired by row; None for numbers.
    """

    file: str
    measure: str
    rows: int
    dense: float
    slim: float
    error: float | None


def unexplained(dense: Encoder, slim: Encoder, data: Sequence[Batch]) -> list[float]:
    """Of each layer's hidden states at real tokens, the share of the variance that the slim encoder misses."""
    missed: list[float] = []
    sums: list[torch.Tensor] = []
    squares: list[float] = []
    count = 0
    with torch.no_grad():
        for batch in data:
            real = batch.mask.bool()
            wanted = [state[real].double() for state in dense(batch.ids, batch.mask)]
            found = [state[real].double() for state in slim(batch.ids, batch.mask)]
            if not sums:
                sums, squares = [torch.zeros(each.shape[1]).double() for each in wanted], [0.0] * len(wanted)
                missed = [0.0] * len(wanted)
            for at, (one, other) in enumerate(zip(wanted, found, strict=True)):
                missed[at] += float((one - other).square().sum())
                sums[at] += one.sum(0)
                squares[at] += float(one.square().sum())
            count += len(wanted[0])
    energy = [square - float(total.square().sum()) / count for square, total in zip(squares, sums, strict=True)]
    return [one / max(all_of_it, 1e-12) for one, all_of_it in zip(missed, energy, strict=True)]


def read_judging(path: Path, tokenizer: str, max_length: int, seed: int) -> JudgingRows:
    """Rows of a labelled file. Raises UsageError where it cannot be read as one, or holds too little to compare by."""
    examples = read_examples(path)
    decision = decide_task(examples, path, "auto")
    task, labels = decision.task_type, decision.labels
    if len(examples) < FEWEST_ROWS:
        raise UsageError(f"`{path}` has {len(examples)} rows, too few to judge by", hint="give some hundreds: --judge")
    drawn = np.random.default_rng(seed).permutation(len(examples))[:MOST_ROWS]
    examples = [examples[index] for index in drawn]
    targets_N = np.asarray(task.targets(examples, labels, path))
    train, test = halves(task.strata(examples, labels, path).indices)
    if len(np.unique(targets_N[train], axis=0)) < 2:
        raise UsageError(f"the rows of `{path}` to judge by have one label only", hint="a probe tells labels apart")
    rows = encode_examples(examples, TextEncoder(tokenizer, max_length), path)
    truncated = sum(row.truncated for row in rows)
    return JudgingRows(path, task, decision.why, truncated, [row.ids for row in rows], targets_N, train, test)


def halves(strata_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the rows, each with half of every stratum; a single row of the rarest one is in the first half."""
    counts_N = np.bincount(strata_N)[strata_N]
    order_N = np.lexsort((strata_N, counts_N))
    return order_N[::2], order_N[1::2]


def probe(dense: Encoder, slim: Encoder, judging: JudgingRows) -> Probed:
    """Judge both encoders on a labelled file."""
    task, test = judging.task, judging.test
    scores = [
        _scores(mean_vectors(encoder, judging.rows), judging.targets_N, judging.train, test, task.has_classes)
        for encoder in (dense, slim)
    ]
    file = str(judging.path)
    if not task.has_classes:
        return Probed(file, "R²", len(test), scores[0][0], scores[1][0], None)
    difference_N = scores[1] - scores[0]
    error = float(difference_N.std(ddof=1) / np.sqrt(len(test)))
    name = "share of right labels" if task.several else "accuracy"
    return Probed(file, name, len(test), float(scores[0].mean()), float(scores[1].mean()), error)


def mean_vectors(encoder: Encoder, rows: Sequence[list[int]]) -> np.ndarray:
    """Mean of the last hidden states over each text's tokens, float64 [N, H], in the rows' order."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))  # as `batches` keeps it
    found = np.empty((len(rows), encoder.classifier.config.hidden_size))
    means = []
    with torch.no_grad():
        for batch in batches([rows[index] for index in order], encoder.pad_id):
            state = encoder(batch.ids, batch.mask)[-1]
            means.append((state * batch.mask.unsqueeze(-1)).sum(1) / batch.mask.sum(1, keepdim=True))
    found[order] = torch.cat(means).double().numpy()
    return found


def _scores(x_NH: np.ndarray, targets_N: np.ndarray, train: np.ndarray, test: np.ndarray, classes: bool) -> np.ndarray:
    """1 or 0 for each row of `test`, right or wrong; of several labels a row, the share that is right; for numbers R²
    alone.
    """
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(x_NH[train])
    x_train, x_test = scale.transform(x_NH[train]), scale.transform(x_NH[test])
    if not classes:
        model = RidgeCV(np.logspace(0, 4, 9)).fit(x_train, targets_N[train])
        return np.asarray([model.score(x_test, targets_N[test])])
    model = LogisticRegression(C=0.05, max_iter=1000)
    if targets_N.ndim == 2:
        return (OneVsRestClassifier(model).fit(x_train, targets_N[train]).predict(x_test) == targets_N[test]).mean(1)
    return (model.fit(x_train, targets_N[train]).predict(x_test) == targets_N[test]).astype(float)
