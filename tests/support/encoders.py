"""A small encoder's directory with random weights, and a task that it can learn."""

import json
import random

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, BertConfig, BertModel

from support.models import draw_affine, roberta_like, tiny_encoder_config, tiny_tokenizer

GOOD, BAD, FILLER = (
    ("good", "great", "loved"),
    ("bad", "dull", "hated"),
    ("a", "film", "this", "that", "it", "was"),
)


def write_encoder(directory, model_class=BertModel, **changes):
    directory.mkdir()
    config = {name: value for name, value in tiny_encoder_config("bert").items() if name != "num_labels"}
    torch.manual_seed(0)
    model = model_class(BertConfig(**config | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.2)
    (directory / "config.json").write_text(json.dumps(config | changes))
    (directory / "tokenizer.json").write_text(tiny_tokenizer())
    save_file(
        {name: value.contiguous().clone() for name, value in model.state_dict().items()},
        directory / "model.safetensors",
    )
    return directory


def save_encoder(directory, architecture, masked=False, shard="1GB", layers=2, **changes):
    """As transformers saves a small random encoder of `architecture`, alone or as a masked language model.

    changes: to its config.
    """
    config = {name: value for name, value in tiny_encoder_config(architecture, layers).items() if name != "num_labels"}
    made = AutoConfig.for_model(**config | changes)
    made.architectures = None
    torch.manual_seed(0)
    model = (AutoModelForMaskedLM if masked else AutoModel).from_config(made)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias") or parameter.dim() == 2:
                parameter.normal_(std=0.2)  # biases too, as a trained encoder has them
        draw_affine(model)
    model.save_pretrained(directory, max_shard_size=shard)
    (directory / "tokenizer.json").write_text(tiny_tokenizer(roberta_like(architecture)))
    return directory


def write_examples(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sentiment(count, seed, pairs=False, scores=False):
    draw = random.Random(seed)
    for _ in range(count):
        good = draw.random() < 0.5
        words = [*draw.sample(FILLER, 4), draw.choice(GOOD if good else BAD)]
        draw.shuffle(words)
        row = {"text": " ".join(words), "label": "positive" if good else "negative"}
        if scores:
            row["label"] = 50.0 + 10 * good + draw.random()
        if pairs:
            row["text_pair"] = " ".join(draw.sample(FILLER, 3))
        yield row


def of_all_lengths(count, longest, seed):
    """Rows as of `sentiment`, from one word to `longest`: the label's word among others, again and again."""
    draw = random.Random(seed)
    for number in range(count):
        good = draw.random() < 0.5
        words = draw.choices(FILLER, k=number % longest)
        words.insert(draw.randint(0, len(words)), draw.choice(GOOD if good else BAD))
        yield {"text": " ".join(words), "label": "positive" if good else "negative"}
