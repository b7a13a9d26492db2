"""The page of a training: whole, self-contained, and with what the result says."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from spartanc.errors import UsageError
from spartanc.models.checkpoint import load_model
from spartanc.models.examples import EncodedExamples
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from spartanc.models.training_page import parent_loads
from spartanc.runtime_py.data import read_examples
from support.browser import CHROMIUM, probe_page
from support.encoders import sentiment, write_encoder, write_examples

SETTINGS = TrainSettings(epochs=2, batch_size=8, lr=0.03, norm_lr=0.03)
VOID = {"meta", "line", "circle", "polyline"}


class Checker(HTMLParser):
    """Every element is closed in its turn; texts are kept."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def trained(tmp_path, scores):
    encoder = write_encoder(tmp_path / "encoder")
    rows = list(sentiment(64, 1, scores=scores))
    rows[0]["text"] += " <b>&"
    data = write_examples(tmp_path / "train.jsonl", rows)
    out, page = tmp_path / "model.pt", tmp_path / "page.html"
    request = TrainRequest(
        encoder, data, data, out, settings=SETTINGS, adapt=False, spartan=SpartanConfig(4, 8, 2), html=page
    )
    return train(request, lambda line: None), page.read_text("utf-8")


@pytest.mark.parametrize("scores", [False, True])
def test_the_page_is_whole_and_fetches_nothing(tmp_path, scores):
    result, page = trained(tmp_path, scores)
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == [] and checker.links == []
    assert "<script" not in page and "http" not in page
    texts = " ".join(checker.texts)
    assert f"{result.best[result.metric]:.4f}" in texts
    for heading in ("Course", "Spread" if scores else "Confusion", "Parents' load", "Settings", "Versions"):
        assert heading in texts
    assert len(re.findall("class='load'", page)) == len(load_model(result.model).module.memories())


def test_loads_are_mean_weights_without_padding(tmp_path):
    result, _ = trained(tmp_path, False)
    model = load_model(result.model)
    rows = EncodedExamples(read_examples(tmp_path / "train.jsonl"), [0] * 64, model.text_encoder(40))
    loads = parent_loads(model.module, rows)
    weights = []
    for row in rows.rows:
        ids = torch.tensor([row["input_ids"]])
        weights.append(model.module.trace(ids, torch.ones_like(ids)).parent_weights[0][0].numpy())
    np.testing.assert_allclose(loads[0], np.concatenate(weights).mean(0), atol=1e-5)
    assert loads[0].sum() == pytest.approx(1, abs=1e-5)


def test_a_page_that_cannot_be_written_is_said_before_the_training(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(16, 1))
    for page in (tmp_path, tmp_path / "none" / "page.html", tmp_path / "model.pt"):
        with pytest.raises(UsageError, match=r"can't be written|the model's own place"):
            train(TrainRequest(encoder, data, data, tmp_path / "model.pt", html=page), lambda line: None)
    assert not (tmp_path / "model.pt").exists()


SEEN = """{
  curves: [...document.querySelectorAll('svg .curve')].filter(each => {
    const one = each.getBoundingClientRect(), box = each.closest('svg').getBoundingClientRect();
    return one.width + one.height > 0 && one.left >= box.left - 1 && one.right <= box.right + 1;
  }).length,
  loads: [...document.querySelectorAll('.load')].map(
    load => [...load.children].map(bar => bar.getBoundingClientRect().height)),
  cells: [...document.querySelectorAll('.matrix td:not(.name)')].map(cell => getComputedStyle(cell).backgroundColor),
  small: [...document.querySelectorAll('body *')].filter(
    each => each.closest('svg') === null && parseFloat(getComputedStyle(each).fontSize) < 11).length
}"""


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_whole_page_on_a_phone_too(tmp_path, width):
    """Curves within their picture, a bar a parent, coloured confusions; nothing fetched, too wide or too small."""
    _, page = trained(tmp_path, False)
    seen = probe_page(page, tmp_path, width, SEEN)
    assert seen["fetched"] == 0
    assert seen["width"] <= seen["window"], "the page is wider than the screen"
    assert seen["curves"] == 2 + 2 * SETTINGS.epochs  # a line and its points, for the measure and the loss
    assert [len(load) for load in seen["loads"]] == [4, 4]
    assert all(max(load) > 20 for load in seen["loads"])
    assert len(set(seen["cells"])) > 1
    assert seen["small"] == 0
