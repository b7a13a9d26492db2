"""The report: one page, nothing fetched, its pictures there; the last in a real browser."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.report import read_verification, render, text_summary, write_report
from spartanc.runtime_py.statistics import summary
from support.browser import CHROMIUM, probe_page


def point(key, value, ms):
    return {key: value, "runs": 20, "latency_ms": summary([ms] * 20), "median_interval_ms": [ms * 0.98, ms * 1.02]}


@pytest.fixture
def result():
    run_ms = (10 + np.random.default_rng(0).exponential(1.0, 300)).tolist()
    return {
        "bundle": "/somewhere/<b>topics</b>",
        "target": "rpi4",
        "device": "local",
        "emulated": False,
        "threads": 2,
        "length": 64,
        "warmup": 5,
        "runs": len(run_ms),
        "load_ms": 30.5,
        "load_cold_ms": 120.25,
        "latency_ms": summary(run_ms),
        "median_interval_ms": [10.6, 10.8],
        "throughput_per_s": 93.4,
        "peak_rss_mb": 80.2,
        "size_on_disk": {"model.pte": 23_000_000, "tokenizer.json": 700_000},
        "trustworthy": False,
        "reasons": ["other load on the machine: <37%>"],
        "machine": {"other_load": 0.37},
        "lengths": [point("length", length, length / 6) for length in (16, 32, 64, 128)],
        "thread_counts": [point("threads", 1, 20.0), point("threads", 2, 10.7)],
        "operators": [
            {"name": "memory_lookup.out", "delegate": None, "calls": 6, "ms": 2.0, "share": 0.2},
            {
                "name": "Fully Connected (NC, F32) GEMM",
                "delegate": "XnnpackBackend",
                "calls": 38,
                "ms": 7,
                "share": 0.7,
            },
        ],
        "skipped_checks": ["accuracy: no data was given"],
        "parity": {"max_abs_diff": 2e-6, "label_agreement": 1.0, "samples": 38},
        "ratio": {"median": 1.8, "low": 1.75, "high": 1.84},
        "run_ms": run_ms,
    }


class Page(HTMLParser):
    """Tags as they open and close; complains of any that does not close."""

    VOID = frozenset({"meta"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_names_nothing_outside(result):
    text = render(result)
    page = Page(text)
    assert page.tags.count("svg") == 5
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"src", "href", "srcset", "onload"}
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_summary_says_the_median_and_why_not_to_trust_it(result):
    text = text_summary(result | {"estimates": [{"title": "Raspberry Pi 4", "estimated_ms": 12.3}]})
    assert f"median {result['latency_ms']['p50']:.3g} ms" in text
    assert "not trustworthy: other load on the machine" in text
    assert "estimate, not measured: Raspberry Pi 4" in text
    assert "1.80 times as fast as the baseline" in text


def test_names_and_reasons_are_escaped(result):
    text = render(result)
    assert "<b>topics" not in text
    assert "&lt;37%&gt;" in text


def test_a_trusted_result_says_so(result):
    result |= {"trustworthy": True, "reasons": []}
    assert "Do not trust" not in render(result)


def test_verification_replaces_the_parity_of_the_compile(result):
    text = render(result, {"accuracy_eager": 0.91, "accuracy_device": 0.905, "label_agreement": 0.99,
                           "max_abs_diff": 0.01, "samples": 200})  # fmt: skip
    assert "0.9050" in text
    assert "at compile time" not in text


def test_measures_of_every_task_type_are_shown_for_both_sides(result):
    verified = {
        "macro_f1_eager": 0.812, "macro_f1_device": 0.7934, "micro_f1_eager": 0.9, "micro_f1_device": None,
        "per_class_eager": {"a": 1}, "per_class_device": {"a": 1},
        "label_agreement": 0.99, "max_abs_diff": 0.01, "samples": 200,
    }  # fmt: skip
    text = render(result, verified)
    for side, value in (("eager", "0.8120"), ("device", "0.7934")):
        assert f"<td>macro f1, {side}</td><td>{value}</td>" in text
    assert "micro f1" not in text
    assert "per class" not in text


def test_the_task_of_a_fleet_is_named(result):
    assert text_summary(result | {"task": "news"}).startswith("task news, 64 tokens")
    assert " task &lt;news&gt;," in render(result | {"task": "<news>"})


def test_stages_and_the_texts_that_moved_most_are_shown(result):
    """The page of `bench --html`, given the JSON of `verify --stages`."""
    layer = {"snr_db": 27.31, "parents_flipped": 1, "parents_chosen": 100}
    stages = [
        {"stage": "exact passes", "label_agreement": 1.0, "max_abs_diff": 0.0, "layers": [{**layer, "snr_db": None}]},
        {"stage": "quantize_linears", "label_agreement": 0.995, "max_abs_diff": 0.31, "layers": [layer]},
        {"stage": "on the device", "label_agreement": 0.99, "max_abs_diff": 0.33, "layers": None},
    ]
    worst = [
        {"row": 7, "text": "a <b>bold</b> claim", "max_abs_diff": 0.33, "labels_agree": False, "labels": ["x", "y"]}
    ]
    verified = {"label_agreement": 0.99, "max_abs_diff": 0.33, "samples": 200, "stages": stages, "worst": worst}
    text = render(result, verified)
    assert "27.3" in text
    assert "exact" in text
    assert "x, now y" in text
    assert "a &lt;b&gt;bold&lt;/b&gt; claim" in text
    assert "Noise by stage" not in render(result)


UNLIKE = [
    {"worst": [{"text": "a"}]},
    {"worst": [3]},
    {"max_abs_diff": "much"},
    {"stages": [{"stage": "exact passes"}]},
    {"stages": 3},
]


@pytest.mark.parametrize("wrong", UNLIKE, ids=str)
def test_a_verification_that_cannot_be_shown_is_refused_before_anything_is_measured(tmp_path, wrong):
    verified = {"label_agreement": 0.99, "max_abs_diff": 0.33, "samples": 200, "worst": []}
    (tmp_path / "file").write_text(json.dumps(verified))
    assert read_verification(tmp_path / "file") == verified
    (tmp_path / "file").write_text(json.dumps(verified | wrong))
    with pytest.raises(UsageError, match="it can't be shown"):
        read_verification(tmp_path / "file")


def test_what_is_not_finite_is_said_so(result):
    """`verify --json` has null for it."""
    layer = {"snr_db": None, "finite": False, "parents_flipped": 1, "parents_chosen": 100}
    stage = {"stage": "all", "label_agreement": 1.0, "max_abs_diff": None, "layers": [layer]}
    row = {"row": 1, "text": "a", "labels": ["x", "x"], "labels_agree": True, "max_abs_diff": None}
    found = {"label_agreement": 1.0, "max_abs_diff": None, "samples": 1, "worst": [row], "stages": [stage]}
    assert render(result, found).count("not finite") == 4


@pytest.mark.parametrize("content", ["no JSON", '{"samples": 3}'])
def test_another_file_is_no_verification(tmp_path, content):
    (tmp_path / "file").write_text(content)
    with pytest.raises(UsageError, match="is not what `spartanc verify --json` prints"):
        read_verification(tmp_path / "file")


def test_one_value_many_times_still_draws(result):
    result |= {"run_ms": [1.0] * 20, "latency_ms": summary([1.0] * 20), "lengths": [], "operators": None}
    assert Page(render(result)).tags.count("svg") == 3


PICTURES = """{pictures: [...document.querySelectorAll('svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  const drawn = [...svg.querySelectorAll('.bar, .curve')].filter(shape => {
    const one = shape.getBoundingClientRect();
    return one.width + one.height > 0 && one.left >= box.left - 1 && one.right <= box.right + 1;
  });
  return [box.width, box.height, drawn.length];
})}"""


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_draws_every_picture_and_fetches_nothing(result, tmp_path, width):
    write_report(result, tmp_path / "report.html")
    seen = probe_page((tmp_path / "report.html").read_text(), tmp_path, width, PICTURES)
    assert seen["fetched"] == 0
    assert len(seen["pictures"]) == 5
    for picture_width, height, drawn in seen["pictures"]:
        assert picture_width > 300
        assert height > 50
        assert drawn > 0
    assert seen["width"] <= seen["window"], "the page is wider than the screen"
