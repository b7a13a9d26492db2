"""Topics: the permutation test tells structure from chance, and the page holds what was measured."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from spartanc.errors import UsageError
from spartanc.models.checkpoint import save_model
from spartanc.models.topics import normalised_information, permutation_test, topics
from support.cli import spartanc
from support.models import tiny_model


def test_information_is_one_for_a_bijection_and_zero_for_independence():
    assert normalised_information(np.eye(4)) == pytest.approx(1.0)
    assert normalised_information(np.outer([1, 2, 3], [0.2, 0.8])) == pytest.approx(0.0, abs=1e-12)
    assert normalised_information(np.array([[1.0, 1.0]])) == 0.0


def test_permutation_test_tells_structure_from_chance():
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 3, 120)
    noise = generator.dirichlet(np.ones(8), 120)
    chance, p_chance = permutation_test(noise, np.eye(3, dtype=bool)[groups], 200, seed=1)
    shifted = noise + 0.3 * np.eye(8)[groups]
    structure, p_structure = permutation_test(
        shifted / shifted.sum(1, keepdims=True), np.eye(3, dtype=bool)[groups], 200, seed=1
    )
    assert p_chance > 0.05
    assert p_structure == pytest.approx(1 / 201)
    assert structure > chance


class Page(HTMLParser):
    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def model_and_data(tmp_path):
    save_model(tiny_model(), tmp_path / "model.pt")
    rows = [{"text": "where is <my> card", "label": "a"}, {"text": "a good film", "label": "b"}] * 6
    rows += [{"text": "how tall is the long river", "label": "a"}, {"text": "boring and bad", "label": "b"}] * 6
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "model.pt", path


def test_page_is_self_contained_and_shows_the_numbers(model_and_data, tmp_path):
    torch.manual_seed(0)
    result = topics(*model_and_data, tmp_path / "topics.html", permutations=100)
    assert result["texts"] == 24
    assert result["labels"] == ["a", "b"]
    assert len(result["layers"]) == 2
    for layer in result["layers"]:
        assert sum(layer["load"]) == pytest.approx(1.0, abs=1e-5)
        assert 0 < layer["p_value"] <= 1
    # Two sets of texts that share no word: whichever parents they choose, they choose them differently.
    assert min(layer["p_value"] for layer in result["layers"]) < 0.05
    page = Page()
    content = (tmp_path / "topics.html").read_text()
    page.feed(content)
    assert page.open == []
    assert not any(tag in ("script", "link", "img") or "src" in given for tag, given in page.tags)
    assert "differs by label" in page.text
    assert f"{result['layers'][1]['information']:.4f}" in page.text
    assert sum(tag == "h2" for tag, _ in page.tags) == 4


def test_texts_are_read_as_far_as_the_training_read_them_and_cut_ones_are_counted(tmp_path):
    rows = [{"text": "good " * 150, "label": "a"}, {"text": "bad " * 3, "label": "b"}] * 2
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = tiny_model(changes={"max_position_embeddings": 256})
    for told, longest, cut in ((16, 16, 2), (None, 128, 2), (200, 200, 0), (999, 256, 0)):
        training = {} if told is None else {"settings": {"max_length": told}}
        save_model(replace(model, training=training), tmp_path / "model.pt")
        result = topics(tmp_path / "model.pt", tmp_path / "data.jsonl", tmp_path / "topics.html", permutations=20)
        assert (result["max_length"], result["truncated"]) == (longest, cut)
        said = f"2 of 4 texts exceed {longest} tokens and were cut"
        shown = spartanc("topics", tmp_path / "model.pt", "--data", tmp_path / "data.jsonl").stdout
        assert [said in shown, said in (tmp_path / "topics.html").read_text()] == [bool(cut)] * 2


def test_a_page_that_cannot_be_written_is_said_before_the_work(tmp_path):
    with pytest.raises(UsageError, match="can't be written"):
        topics(tmp_path / "no-model.pt", tmp_path / "no-data.jsonl", tmp_path / "none" / "page.html")


def test_same_seed_gives_the_same_numbers(model_and_data):
    assert topics(*model_and_data, permutations=50) == topics(*model_and_data, permutations=50)


def test_one_label_is_refused(model_and_data, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"text": "a", "label": "a"}\n{"text": "b", "label": "a"}\n')
    with pytest.raises(UsageError, match="one label only"):
        topics(model_and_data[0], tmp_path / "one.jsonl", tmp_path / "topics.html")
    assert not (tmp_path / "topics.html").exists()


def test_regression_compares_thirds(tmp_path):
    save_model(tiny_model(problem="regression"), tmp_path / "model.pt")
    rows = [{"text": "good " * (1 + index % 5), "label": index / 2} for index in range(9)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = topics(tmp_path / "model.pt", tmp_path / "data.jsonl", permutations=20)
    assert len(result["labels"]) == 3
