"""Which parents fire for which labels: numbers, and a page that is readable without code.

For every text and layer, a parent's load is its mean weight over the text's tokens. Over the texts of one label the
loads make a column of the heat map. How much the choice of parents says of the label is their mutual information,
normalised by the geometric mean of both entropies; whether that is more than chance, a permutation test says: the
labels are shuffled among the texts, and p is the share of shufflings that reach the measured information.

Legend: N texts, E parents, G labels, L tokens.
"""

from __future__ import annotations

import html
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.pages import check_page, page, write_page
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.models.examples import EncodedExamples, pad_rows
from spartanc.models.settings import MAX_LENGTH
from spartanc.runtime_py.data import Columns, Example, count_rows, read_examples, require_texts
from spartanc.runtime_py.data.counting import cut_texts
from spartanc.runtime_py.data.labels import in_words
from spartanc.runtime_py.text import TextEncoder

PERMUTATIONS = 500
WORDS_SHOWN = 12
SENTENCES_SHOWN = 8


@dataclass(frozen=True)
class LayerTopics:
    """One memory: loads by label [E, G], overall load [E], its information on the labels, and its typical words."""

    loads_EG: np.ndarray
    load_E: np.ndarray
    information: float
    p_value: float
    dead: tuple[int, ...]
    words: tuple[tuple[str, ...], ...]


def topics(
    model: str | Path,
    data: str | Path,
    page: str | Path | None = None,
    *,
    columns: Columns | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, Any]:
    """Read which parents of `model` fire for which labels of `data`; write the page, give the numbers back.

    Raises UsageError where the model has no tokenizer, a label is not the model's, or the page cannot be written.
    """
    if page is not None:
        check_page(Path(page))
    trained, examples = load_model(model), read_examples(data, columns)
    require_texts(examples, trained.pairs, data, allow_empty=True)
    members = trained.task_type.members(examples, trained.labels, data)
    names, belongs_NG = members.names, members.belongs_NG
    if len(names) < 2:
        raise UsageError(f"`{data}` holds one label only", hint="topics compares the texts of at least two")
    encoder = trained.text_encoder(longest(trained))
    rows = EncodedExamples(examples, [0] * len(examples), encoder, data)
    loads_NE, words, sentences = _collect(trained, examples, rows, encoder)
    layers = []
    for index, load_NE in enumerate(loads_NE):
        information, p_value = permutation_test(load_NE, belongs_NG, permutations, seed)
        load_E = load_NE.mean(0)
        layers.append(
            LayerTopics(
                loads_EG=np.stack([load_NE[belongs_N].mean(0) for belongs_N in belongs_NG.T], 1),
                load_E=load_E,
                information=information,
                p_value=p_value,
                dead=tuple(int(parent) for parent in np.flatnonzero(load_E == 0)),
                words=words[index],
            )
        )
    if page is not None:
        cut = cut_texts(rows.truncated, len(rows), encoder.max_length)
        write_page(Path(page), render(Path(model).name, Path(data).name, len(examples), cut, names, layers, sentences))
    return {
        "model": str(model),
        "data": str(data),
        "texts": len(examples),
        "max_length": encoder.max_length,
        "truncated": rows.truncated,
        "rows": count_rows(examples),
        "labels": list(names),
        "html": None if page is None else str(page),
        "permutations": permutations,
        "layers": [
            {
                "information": layer.information,
                "p_value": layer.p_value,
                "dead_parents": list(layer.dead),
                "load": [float(value) for value in layer.load_E],
                "load_by_label": {
                    name: [float(value) for value in layer.loads_EG[:, group]] for group, name in enumerate(names)
                },
            }
            for layer in layers
        ],
    }


def longest(trained: TrainedModel) -> int:
    """As many tokens of a text as the training read; by default where the model doesn't say."""
    settings = trained.training.get("settings")
    told = settings.get("max_length") if isinstance(settings, dict) else None
    return min(told if isinstance(told, int) and told > 0 else MAX_LENGTH, trained.max_length)


def normalised_information(joint_EG: np.ndarray) -> float:
    """Mutual information of two variables of this joint distribution over the geometric mean of their entropies."""
    joint = joint_EG / joint_EG.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    expected = np.outer(rows, columns)
    held = joint > 0
    information = float((joint[held] * np.log(joint[held] / expected[held])).sum())
    entropies = [float(-(part[part > 0] * np.log(part[part > 0])).sum()) for part in (rows, columns)]
    scale = (entropies[0] * entropies[1]) ** 0.5
    return max(0.0, information / scale) if scale > 0 else 0.0


def permutation_test(load_NE: np.ndarray, belongs_NG: np.ndarray, permutations: int, seed: int) -> tuple[float, float]:
    """The normalised information of parents on labels, and how often shuffled labels reach it.

    belongs_NG: bool; a text of several labels counts for each of them in part, and once in all.
    """
    generator = np.random.default_rng(seed)
    share_NG = belongs_NG / belongs_NG.sum(1, keepdims=True)

    def information(share_NG: np.ndarray) -> float:
        return normalised_information(load_NE.T @ share_NG)

    measured = information(share_NG)
    reached = sum(information(share_NG[generator.permutation(len(share_NG))]) >= measured for _ in range(permutations))
    return measured, (reached + 1) / (permutations + 1)


def _collect(trained: TrainedModel, examples: list[Example], rows: EncodedExamples, encoder: TextEncoder):
    """Loads [N, E] of every layer, typical words of every parent, and some sentences with each token's parent."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    layers, parents = len(trained.module.memories()), trained.spartan.parents
    loads = np.zeros((layers, len(rows), parents), np.float64)
    sums: list[dict[int, np.ndarray]] = [defaultdict(lambda: np.zeros(parents)) for _ in range(layers)]
    seen: dict[int, int] = defaultdict(int)
    chosen: dict[int, list[list[int]]] = {}
    for start in range(0, len(order), 32):
        indices = order[start : start + 32]
        batch = pad_rows([rows[index] for index in indices], trained.module.config.pad_token_id or 0)
        trace = trained.module.trace(batch["input_ids"], batch["attention_mask"])
        for layer, weights in enumerate(trace.parent_weights):
            for position, index in enumerate(indices):
                ids = rows[index]["input_ids"]
                weight_LE = weights[position, : len(ids)].double().numpy()
                loads[layer, index] = weight_LE.mean(0)
                for token, weight_E in zip(ids, weight_LE, strict=True):
                    sums[layer][token] += weight_E
                if index < SENTENCES_SHOWN:
                    chosen.setdefault(index, []).append(weight_LE.argmax(1).tolist())
        for index in indices:
            for token in rows[index]["input_ids"]:
                seen[token] += 1
    words = []
    frequent = [token for token, count in seen.items() if count >= min(5, max(seen.values()))]
    for layer in range(layers):
        mean = np.stack([sums[layer][token] / seen[token] for token in frequent])
        best = np.argsort(-mean, axis=0, kind="stable")[:WORDS_SHOWN]
        words.append(
            tuple(
                tuple(encoder.token(frequent[row]) for row in best[:, parent] if mean[row, parent] > 0)
                for parent in range(parents)
            )
        )
    sentences = [
        (in_words(examples[index].label), [encoder.token(token) for token in rows[index]["input_ids"]], chosen[index])
        for index in sorted(chosen)
    ]
    return loads, words, sentences


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; margin: .6rem 0 } th, td { padding: .2rem .45rem; text-align: right }
th { font-weight: 600 } td.words, th.left { text-align: left; color: #444 } .map td { border: 1px solid #fff }
.token { display: inline-block; padding: 0 .3rem; margin: .08rem; border-radius: .25rem; white-space: nowrap }
.token sub { color: #333; font-size: .65em } .wide { overflow-x: auto } .note { color: #555; max-width: 50rem }
details { margin: .4rem 0 } summary { cursor: pointer; font-weight: 600 }
"""


def render(
    model: str, data: str, texts: int, cut: str | None, names: tuple[str, ...], layers: list[LayerTopics], sentences
) -> str:
    """The page, self-contained: no script, nothing fetched."""
    parents = len(layers[0].load_E)
    out = [
        f"<h1>What the memories of {html.escape(model)} learned</h1>",
        f"<p class='note'>{texts} texts of {html.escape(data)}, {len(names)} labels, {len(layers)} memories of "
        f"{parents} parents. "
        + (f"{cut}. " if cut else "")
        + "At every token a memory chooses a few of its parents and gives them weights that sum "
        "to 1. A parent's load is its mean weight over tokens. If parents specialise, their loads differ from label "
        "to label; if they do not, every row of a heat map has one colour.</p>",
        "<h2>Overview</h2><p class='note'>Information: how much the choice of parents says of the label, 0 nothing, "
        "1 all (normalised mutual information). p: how often shuffled labels say as much; below 0.05 it is more than "
        "chance.</p><table id='overview'><tr><th>memory</th><th>information</th><th>p</th>"
        "<th>verdict</th><th>dead parents</th><th>busiest parent's load</th></tr>",
    ]
    for index, layer in enumerate(layers):
        verdict = "differs by label" if layer.p_value < 0.05 else "no more than chance"
        dead = ", ".join(str(parent) for parent in layer.dead) or "none"
        out.append(
            f"<tr><td>{index + 1}</td><td>{layer.information:.4f}</td><td>{layer.p_value:.3f}</td>"
            f"<td>{verdict}</td><td>{dead}</td><td>{layer.load_E.max():.3f}</td></tr>"
        )
    out.append("</table>")
    for index, layer in enumerate(layers):
        top = float(layer.loads_EG.max()) or 1.0
        out.append(f"<h2>Memory {index + 1}</h2><div class='wide'><table class='map'><tr><th>parent</th><th>all</th>")
        out += [f"<th>{html.escape(name)}</th>" for name in names]
        out.append("<th class='left'>words that choose it most</th></tr>")
        for parent in range(parents):
            cells = [layer.load_E[parent], *layer.loads_EG[parent]]
            row = "".join(f"<td style='background:{_heat(value / top)}'>{value:.3f}</td>" for value in cells)
            typical = html.escape(" · ".join(layer.words[parent]) or "never chosen")
            out.append(f"<tr><th>{parent}</th>{row}<td class='words'>{typical}</td></tr>")
        out.append("</table></div>")
    out.append(
        "<h2>Texts</h2><p class='note'>Every token with the parent that weighs most there, one line a memory; "
        "tokens of one colour chose the same parent.</p>"
    )
    for label, tokens, chosen in sentences:
        out.append(f"<details><summary>{html.escape(label)}: {html.escape(' '.join(tokens[1:-1])[:90])}</summary>")
        for index, line in enumerate(chosen):
            shown = "".join(
                f"<span class='token' style='background:hsl({parent * 360 // parents} 70% 85%)'>"
                f"{html.escape(token)}<sub>{parent}</sub></span>"
                for token, parent in zip(tokens, line, strict=True)
            )
            out.append(f"<p>{index + 1}: {shown}</p>")
        out.append("</details>")
    return page(f"Parents and labels: {model}", _STYLE, "\n".join(out))


def _heat(share: float) -> str:
    return f"hsl(215 80% {97 - 45 * min(1.0, max(0.0, share)):.0f}%)"
