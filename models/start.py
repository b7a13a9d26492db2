"""Where a memory starts: parents and keys from the hidden states of the training texts, by k-means.

Drawn at random and small, a memory starts as a constant: its logits vary by 0.2 between tokens, every parent and cell
weighs the same, and what it adds is one vector for all. It has to become selective before it can learn anything of the
text. Started from the data, parents are the centres of E clusters of the hidden states that reach the memory, a
parent's keys the centres of its cluster's C parts, and logits vary by as much as the settings say. Centres are taken
from the mean state and held orthogonal to it: a parent must not win everywhere for lying along what all states share.

Legend: N tokens, H hidden size, E parents, M cells, C cells a parent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.models.classifier import SpartanClassifier
from spartanc.models.memory import Memory

TEXTS = 200  # whose states are clustered: some thousands of tokens
ROUNDS = 8


def start_memories(
    classifier: SpartanClassifier, batches: list[dict[str, Tensor]], parent_scale: float, key_scale: float, seed: int
) -> None:
    """Set parents and keys of every memory, in place; values stay as they are.

    batches: `input_ids` and `attention_mask` int64 [B, L]. The scales are standard deviations over tokens of the
    parents' logits, and of the keys' before they are divided by the temperature.
    """
    generator = torch.Generator().manual_seed(seed)
    memories = classifier.memories()
    for memory, x_NH in zip(memories, hidden_states(classifier, batches), strict=True):
        mean_H = x_NH.mean(0)
        centred_NH = x_NH - mean_H
        parents_EH, keys_MH = centres_of_states(centred_NH, memory, generator)
        with torch.no_grad():
            memory.parents.copy_(scaled(parents_EH, centred_NH, mean_H, parent_scale))
            memory.keys.copy_(scaled(keys_MH, centred_NH, mean_H, key_scale))


def hidden_states(classifier: SpartanClassifier, batches: list[dict[str, Tensor]]) -> list[Tensor]:
    """What reaches every memory from the plain encoder at real tokens, each [N, H]."""
    memories = classifier.memories()
    seen: list[list[Tensor]] = [[] for _ in memories]
    real: list[Tensor] = []
    handles, was_training = [], classifier.training
    for memory, states in zip(memories, seen, strict=True):
        # A memory that returns its input adds nothing: what later ones see is the encoder's own.
        def keep_and_pass(module, args, out, states=states):
            states.append(args[0][real[-1]])
            return args[0]

        handles.append(memory.register_forward_hook(keep_and_pass))
    classifier.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                real.append(batch["attention_mask"].bool())
                classifier(batch["input_ids"], batch["attention_mask"])
    finally:
        for handle in handles:
            handle.remove()
        classifier.train(was_training)
    return [torch.cat(states).float() for states in seen]


def centres_of_states(x_NH: Tensor, memory: Memory, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centres [E, H] of all states, and [M, H] of every cluster's own; a cluster too small for that takes all."""
    parents = memory.config.parents
    cells = memory.config.cells // parents
    parents_EH, cluster_N = k_means(x_NH, parents, generator)
    keys = []
    for parent in range(parents):
        members = x_NH[cluster_N == parent]
        keys.append(k_means(members if len(members) >= 2 * cells else x_NH, cells, generator)[0])
    return parents_EH, torch.cat(keys)


def k_means(x_NH: Tensor, count: int, generator: torch.Generator, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """Centres [count, H] and every row's centre [N], by Lloyd's rounds from rows drawn at random.

    A centre that lost all its rows starts again from one drawn at random; where rows are too few they repeat.
    """
    drawn = torch.randperm(len(x_NH), generator=generator)
    centres = x_NH[drawn.repeat(-(-count // len(x_NH)))[:count]].clone()
    for _ in range(rounds):
        nearest = torch.cdist(x_NH, centres).argmin(1)
        for index in range(count):
            members = x_NH[nearest == index]
            one = torch.randint(len(x_NH), (1,), generator=generator)
            centres[index] = members.mean(0) if len(members) else x_NH[one[0]]
    return centres, torch.cdist(x_NH, centres).argmin(1)


def scaled(rows_RH: Tensor, centred_NH: Tensor, mean_H: Tensor, deviation: float) -> Tensor:
    """Rows orthogonal to the mean, as long as it takes for their products with states to vary by `deviation`."""
    rows_RH = rows_RH - torch.outer(rows_RH @ mean_H, mean_H) / mean_H.square().sum().clamp_min(1e-12)
    spread_R = (centred_NH @ rows_RH.T).std(0, correction=0).clamp_min(1e-6)
    return rows_RH / spread_R.unsqueeze(1) * deviation
