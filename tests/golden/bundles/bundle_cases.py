"""The bundles of the corpus: {name: (bundle, reason)}; for refusals {name: (bundle, word of the message, reason)}."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from writing import FLEET, FLEET_MANIFEST, MANIFEST, PROBE, STUB, TASK, Bundle, task_file


def with_fields(**fields: Any) -> Bundle:
    bundle = Bundle()
    bundle.manifest |= fields
    return bundle


def with_min_length(value: Any) -> Bundle:
    return with_fields(format_version=2, min_length=value)


def without(field: str) -> Bundle:
    bundle = Bundle()
    del bundle.manifest[field]
    return bundle


def with_text(old: str, new: str | bytes) -> Bundle:
    """The manifest's text with `new` in the place of `old`, which stands there once."""
    bundle = Bundle()
    text = bundle.manifest_text()
    assert text.count(old.encode()) == 1, old
    bundle.text = text.replace(old.encode(), new.encode() if isinstance(new, str) else new)
    return bundle


def with_label(json_text: str | bytes) -> Bundle:
    """The first label is written so in the manifest."""
    return with_text('"no"', json_text)


def with_probe(**fields: Any) -> Bundle:
    return with_fields(probe=PROBE | fields)


def with_listed(name: str, **entry: Any) -> Bundle:
    """The manifest lists one more file, which is not there."""
    bundle = Bundle()
    bundle.manifest["files"][name] = {"sha256": "0" * 64, "bytes": 1} | entry
    return bundle


def with_entry(**entry: Any) -> Bundle:
    """The manifest says this of the program's file."""
    bundle = Bundle()
    bundle.manifest["files"]["model.pte"] |= entry
    return bundle


def fleet(**fields: Any) -> Bundle:
    bundle = Bundle(FLEET_MANIFEST, {"tasks/topics.safetensors": task_file()})
    bundle.manifest["fleet"] |= fields
    return bundle


def fleet_of_int4_memories() -> Bundle:
    task = task_file(TASK | {"quantization": "int4-memories"})
    bundle = Bundle(FLEET_MANIFEST | {"quantization": "int4-memories"}, {"tasks/topics.safetensors": task})
    bundle.manifest["fleet"] |= {"quantization": "int4-memories"}
    return bundle


def fleet_input(number: int, **fields: Any) -> Bundle:
    inputs = copy.deepcopy(FLEET["inputs"])
    inputs[number] |= fields
    return fleet(inputs=inputs)


def fleet_fields(**fields: Any) -> Bundle:
    bundle = fleet()
    bundle.manifest |= fields
    return bundle


def changed(change: Callable[[Bundle], object], bundle: Bundle | None = None) -> Bundle:
    bundle = bundle or Bundle()
    change(bundle)
    return bundle


def regression() -> Bundle:
    outputs = [{"name": "logits", "dtype": "float32", "shape": [1, 1]}]
    return with_fields(problem="regression", labels=[], outputs=outputs, probe=PROBE | {"logits": [[0.5]]})


def multilabel(labels: Sequence[str] = ("no", "yes"), **fields: Any) -> Bundle:
    outputs = [{"name": "logits", "dtype": "float32", "shape": [1, len(labels)]}]
    probe = PROBE | {"logits": [[0.5] * len(labels)]}
    thresholds = {"thresholds": [0.25] * len(labels)}
    return with_fields(
        **{"problem": "multilabel", "labels": list(labels), "outputs": outputs, "probe": probe, **thresholds, **fields}
    )


def multilabel_without_thresholds() -> Bundle:
    bundle = multilabel()
    del bundle.manifest["thresholds"]
    return bundle


def least_fields() -> Bundle:
    bundle = Bundle()
    del bundle.manifest["inputs"], bundle.manifest["outputs"]
    return bundle


def unknown_fields() -> Bundle:
    bundle = Bundle()
    bundle.manifest["colour"] = {"a": [1, None, 10**400, -0.0, True], "b": {}}
    bundle.manifest["files"]["model.pte"]["mode"] = 420
    bundle.text = bundle.manifest_text().replace(b"-0.0", b"-0, 1e400, 1e-400")
    return bundle


def torchscript() -> Bundle:
    bundle = Bundle(files={"model.ts": STUB})
    bundle.manifest |= {"program": "model.ts", "program_format": "torchscript"}
    return bundle


def compact() -> Bundle:
    bundle = Bundle()
    bundle.text = b" \t\r\n" + json.dumps(bundle.manifest, separators=(",", ":")).encode() + b"\n\n"
    return bundle


def manifest_as_link() -> Bundle:
    bundle = Bundle()
    bundle.files["other.json"] = bundle.manifest_text()
    bundle.removed.append("manifest.json")
    bundle.links["manifest.json"] = "other.json"
    return bundle


def program_as_link() -> Bundle:
    """The file that it leads to has the right content and is listed too."""
    bundle = Bundle(files={"other.pte": STUB})
    bundle.removed.append("model.pte")
    bundle.links["model.pte"] = "other.pte"
    return bundle


ACCEPT: dict[str, tuple[Bundle, str]] = {
    "classification": (Bundle(), "a bundle for a classification"),
    "regression": (regression(), "a regression has no label and one logit"),
    "multilabel": (multilabel(), "several labels, each with a threshold"),
    "multilabel-one-label": (multilabel(["only"]), "a text has it, or not"),
    "multilabel-thresholds": (multilabel(thresholds=[1e-9, 0.999999]), "any number above 0 and below 1"),
    "least-fields": (least_fields(), "only the required fields"),
    "unknown-fields": (unknown_fields(), "fields that a reader does not know are ignored, whatever their numbers are"),
    "unknown-target": (with_fields(target="a-later-board"), "targets are not a closed list"),
    "int8-portable": (with_fields(quantization="int8", lowering="portable"), "other known words"),
    "int4": (with_fields(quantization="int4"), "another known word; linears of unsaid bits are not of 4"),
    "int4-linears": (
        with_fields(quantization="int4", linears={"kernels": "xnnpack", "bits": 4, "reason": "r"}),
        "4 bits in the linears too",
    ),
    "int4-linears-unread": (
        with_fields(quantization="int4", linears=4),
        "what the compiler says of its linears is for reports, whatever it is",
    ),
    "int4-memories": (with_fields(quantization="int4-memories"), "another known word, with a hyphen"),
    "fleet-int4-memories": (
        fleet_of_int4_memories(),
        "the word of a fleet, of its form of tensors and of its task file",
    ),
    "torchscript": (torchscript(), "a TorchScript program, and a file beside it"),
    "min-length": (with_min_length(3), "the shortest input that the program takes"),
    "min-length-1": (with_min_length(1), "every input is long enough"),
    "min-length-is-max-length": (with_min_length(16), "inputs of one length"),
    "min-length-over-probe": (with_min_length(4), "the probe is padded too"),
    "fleet-min-length": (fleet_fields(format_version=2, min_length=3), "one for all tasks"),
    "longest-input": (with_fields(max_length=65536), "the greatest max_length"),
    "labels-of-any-text": (with_fields(labels=["n\u00f6\U0001f600\n", '"ja" \u6c34\\']), "escapes are decoded"),
    "labels-of-raw-text": (with_label('"\u6c34\U0001f600"'.encode()), "UTF-8 needs no escapes"),
    "labels-empty": (with_fields(labels=["", " "]), "a label may be empty"),
    "compact-json": (compact(), "white space is free"),
    "number-forms": (with_probe(logits=[[5, -2.5e-1]], tolerance=0), "a number may be written as a whole number"),
    "number-below-all": (
        with_text("0.0001", "0.0001e-9223372036854775808"),
        "a number that is nearer to 0 than any float64 is 0, however long its exponent is",
    ),
    "pairs": (with_fields(pairs=True, vocabulary_size=1 << 30), "whether an input is two texts, and the most tokens"),
    "pairs-null": (with_fields(pairs=None), "it is not known whether an input is two texts"),
    "operators": (with_fields(operators=["aten::add.out"], backends=[]), "what the program needs of a runtime"),
    "nested-files": (
        Bundle(files={"runtime/lib/a/b/c.so": b"x", "runtime/empty": b"", "tokenizer.json": b"{}"}),
        "files in folders, and an empty file",
    ),
    "deepest-file": (Bundle(files={"/".join("abcdefghijklmnop"): b"x"}), "a name of 16 parts"),
    "longest-name": (Bundle(files={"/".join(["n" * 170] * 3): b"x"}), "a name of 512 bytes"),
    "signature-not-required": (
        changed(lambda bundle: bundle.files.update({"manifest.sig": b"anything"})),
        "a signature that is not required is not looked at, and not listed",
    ),
    "deepest-json": (with_fields(extra=json.loads("[" * 63 + "1" + "]" * 63)), "a value inside 64 others"),
    "fleet": (fleet(), "a fleet, to which the task files of this corpus belong"),
    "fleet-without-tasks": (fleet(tasks={}), "a fleet may have no task yet"),
}

_MANIFEST_TEXT = Bundle().manifest_text()

REFUSE: dict[str, tuple[Bundle, str, str]] = {
    # The manifest and its digest
    "manifest-missing": (changed(lambda b: b.removed.append("manifest.json")), "`manifest.json`", "no manifest"),
    "manifest-link": (manifest_as_link(), "`manifest.json`", "the manifest is a symbolic link"),
    "digest-missing": (changed(lambda b: b.removed.append("manifest.sha256")), "`manifest.sha256`", "no digest"),
    "digest-other": (Bundle(digest_file=b"0" * 64 + b"  manifest.json\n"), "digest", "the digest of other bytes"),
    "digest-upper-case": (Bundle(digest_case=str.upper), "digest", "digests are written in lower case"),
    "digest-without-line-end": (Bundle(digest_case=str.rstrip), "digest", "the line has an end"),
    # JSON
    "json-array": (Bundle(text=b"[]"), "`manifest.json`", "not an object"),
    "json-byte-order-mark": (Bundle(text=b"\xef\xbb\xbf" + _MANIFEST_TEXT), "JSON", "a byte order mark"),
    "json-comment": (Bundle(text=_MANIFEST_TEXT + b"// end"), "JSON", "a comment"),
    "json-control-character": (with_label(b'"n\no"'), "JSON", "a line end inside a string"),
    "json-empty": (Bundle(text=b""), "JSON", "an empty manifest"),
    "json-leading-zero": (with_text('"max_length": 16', '"max_length": 016'), "JSON", "a number that begins with 0"),
    "json-lone-surrogate": (with_label('"\\ud83d"'), "JSON", "half of a surrogate pair"),
    "json-name-twice": (
        with_text('"max_length": 16', '"max_length": 16, "max_length": 8'),
        "`max_length`",
        "a name twice",
    ),
    "json-nan": (with_text('"tolerance": 0.0001', '"tolerance": NaN'), "JSON", "NaN is not JSON"),
    "json-nested-too-deeply": (with_fields(extra=json.loads("[" * 64 + "1" + "]" * 64)), "JSON", "inside 65 others"),
    "json-not-utf8": (with_label(b'"n\xff"'), "`manifest.json`", "bytes that are not UTF-8"),
    "json-overlong-utf8": (with_label(b'"n\xc0\xaf"'), "`manifest.json`", "an overlong form is not UTF-8"),
    "json-surrogate-in-utf8": (with_label(b'"n\xed\xa0\x80"'), "`manifest.json`", "a surrogate is not UTF-8"),
    "json-trailing-comma": (Bundle(text=_MANIFEST_TEXT[:-1].rstrip() + b",}"), "JSON", "a comma before the end"),
    "json-trailing-text": (Bundle(text=_MANIFEST_TEXT + b"{}"), "JSON", "text after the end"),
    "json-truncated": (Bundle(text=_MANIFEST_TEXT[:-1]), "JSON", "the end is missing"),
    # Format and version
    "format-missing": (without("format"), "format", "no format"),
    "format-other": (with_fields(format="another-bundle"), "format", "another format"),
    "version-2": (with_fields(format_version=2), "format_version", "version 2 has `min_length`"),
    "version-3": (with_fields(format_version=3, min_length=3), "format_version", "a later version"),
    "min-length-in-version-1": (with_fields(min_length=3), "format_version", "a reader of version 1 ignores it"),
    "min-length-zero": (with_min_length(0), "min_length", "at least 1"),
    "min-length-negative": (with_min_length(-3), "min_length", "a count is not negative"),
    "min-length-over-max-length": (with_min_length(17), "min_length", "at most `max_length`"),
    "min-length-text": (with_min_length("3"), "min_length", "text is not a count"),
    "min-length-fraction": (with_min_length(3.0), "min_length", "a count has no fraction"),
    "min-length-boolean": (with_min_length(True), "min_length", "true is not a count"),
    "min-length-null": (with_min_length(None), "min_length", "null is not absent"),
    "fleet-min-length-over-max-length": (
        fleet_fields(format_version=2, min_length=17),
        "min_length",
        "a fleet's program takes its longest input",
    ),
    "version-boolean": (with_fields(format_version=True), "format_version", "true is not 1"),
    "version-fraction": (with_fields(format_version=1.0), "format_version", "1.0 is not a whole number"),
    "version-text": (with_fields(format_version="1"), "format_version", "text is not a number"),
    # Words
    "problem-unknown": (with_fields(problem="ranking"), "problem", "an unknown word"),
    "problem-missing": (without("problem"), "problem", "a required field"),
    "quantization-unknown": (with_fields(quantization="int3"), "quantization", "an unknown word"),
    "quantization-begins-as-one": (with_fields(quantization="int4-"), "quantization", "a word is the whole of it"),
    "quantization-number": (with_fields(quantization=8), "quantization", "a number for a word"),
    "lowering-unknown": (with_fields(lowering="Fused"), "lowering", "words have one spelling"),
    "lowering-null": (with_fields(lowering=None), "lowering", "null is not a word"),
    "program-format-unknown": (with_fields(program_format="onnx"), "program_format", "an unknown word"),
    # Counts
    "max-length-missing": (without("max_length"), "max_length", "a required field"),
    "max-length-zero": (with_fields(max_length=0), "max_length", "at least 1"),
    "max-length-negative": (with_fields(max_length=-16), "max_length", "a count is not negative"),
    "max-length-minus-zero": (with_text('"max_length": 16', '"max_length": -0'), "max_length", "a count has no sign"),
    "max-length-too-large": (with_fields(max_length=65537), "max_length", "at most 65536"),
    "max-length-huge": (with_fields(max_length=10**30), "max_length", "more digits than any count"),
    "max-length-fraction": (with_fields(max_length=16.0), "max_length", "a count has no fraction"),
    "max-length-exponent": (
        with_text('"max_length": 16', '"max_length": 1e1'),
        "max_length",
        "a count has no exponent",
    ),
    "max-length-boolean": (with_fields(max_length=True), "max_length", "true is not a count"),
    "vocabulary-size-zero": (with_fields(vocabulary_size=0), "vocabulary_size", "at least 1"),
    "vocabulary-size-too-large": (with_fields(vocabulary_size=(1 << 30) + 1), "vocabulary_size", "at most 2^30"),
    "pairs-number": (with_fields(pairs=1), "pairs", "true, false or null"),
    # Texts and labels
    "target-missing": (without("target"), "target", "a required field"),
    "target-with-nul": (with_fields(target="rpi4\0"), "target", "U+0000 would end the text in C"),
    "labels-missing": (without("labels"), "labels", "a required field"),
    "labels-null": (with_fields(labels=None), "labels", "null is not a list"),
    "labels-not-text": (with_fields(labels=["no", 1]), "labels", "a label is text"),
    "labels-twice": (with_fields(labels=["no", "no"]), "labels", "labels are distinct"),
    "labels-twice-by-escape": (with_text('"yes"', '"n\\u006f"'), "labels", "distinct after escapes are decoded"),
    "labels-only-one": (with_fields(labels=["no"], probe=PROBE | {"logits": [[1]]}), "labels", "two classes at least"),
    "labels-none": (with_fields(labels=[], probe=PROBE | {"logits": [[1]]}), "labels", "a classification has labels"),
    "labels-of-regression": (with_fields(problem="regression"), "labels", "a regression has no labels"),
    "labels-with-nul": (with_fields(labels=["no", "y\0es"]), "labels", "U+0000 would end the text in C"),
    "labels-of-multilabel-twice": (multilabel(["no", "no"]), "labels", "labels are distinct"),
    "labels-of-multilabel-none": (multilabel([], thresholds=[0.5]), "labels", "one label at least"),
    "thresholds-missing": (multilabel_without_thresholds(), "thresholds", "a multilabel task has them"),
    "thresholds-null": (multilabel(thresholds=None), "thresholds", "null is not a list"),
    "thresholds-too-few": (multilabel(thresholds=[0.5]), "thresholds", "one for every label"),
    "thresholds-text": (multilabel(thresholds=[0.5, "0.5"]), "thresholds", "a threshold is a number"),
    "thresholds-boolean": (multilabel(thresholds=[0.5, True]), "thresholds", "true is not a number"),
    "thresholds-zero": (multilabel(thresholds=[0.5, 0]), "thresholds", "every text would have the label"),
    "thresholds-one": (multilabel(thresholds=[1, 0.5]), "thresholds", "no text would have the label"),
    "thresholds-of-classification": (with_fields(thresholds=[0.5, 0.5]), "thresholds", "a classification has none"),
    "thresholds-none-of-classification": (with_fields(thresholds=[]), "thresholds", "not even a list of none"),
    "operators-not-text": (with_fields(operators=["aten::add.out", 1]), "operators", "an operator is text"),
    "backends-null": (with_fields(backends=None), "backends", "null is not a list"),
    # Inputs and outputs
    "inputs-three": (with_fields(inputs=[*MANIFEST["inputs"], MANIFEST["inputs"][0]]), "inputs", "ids and mask only"),
    "inputs-other-order": (with_fields(inputs=MANIFEST["inputs"][::-1]), "inputs", "ids come first"),
    "inputs-other-dtype": (
        with_fields(inputs=[each | {"dtype": "int32"} for each in MANIFEST["inputs"]]),
        "inputs",
        "ids and mask are int64",
    ),
    "inputs-size-zero": (
        with_fields(inputs=[each | {"shape": [0, "L"]} for each in MANIFEST["inputs"]]),
        "inputs",
        "a size is at least 1",
    ),
    "inputs-unknown-word": (
        with_fields(inputs=[each | {"shape": [1, "N"]} for each in MANIFEST["inputs"]]),
        "inputs",
        "the only word is L",
    ),
    "outputs-other-classes": (
        with_fields(outputs=[{"name": "logits", "dtype": "float32", "shape": [1, 3]}]),
        "outputs",
        "one logit for every label",
    ),
    # Files
    "program-missing": (without("program"), "program", "a required field"),
    "program-not-listed": (with_fields(program="other.pte"), "program", "the program is one of `files`"),
    "files-null": (with_fields(files=None), "files", "null is not an object"),
    "file-missing": (changed(lambda b: b.removed.append("model.pte")), "`model.pte`", "a listed file is not there"),
    "file-extra": (changed(lambda b: b.files.update(more=b"?")), "`more`", "a file is not listed"),
    "file-altered": (changed(lambda b: b.files.update({"model.pte": b"No program\n"})), "`model.pte`", "other bytes"),
    "file-longer": (changed(lambda b: b.files.update({"model.pte": STUB + b"\n"})), "`model.pte`", "another size"),
    "file-link": (program_as_link(), "`model.pte`", "a symbolic link, even to the right bytes"),
    "file-link-extra": (changed(lambda b: b.links.update(more="model.pte")), "`more`", "a link that is not listed"),
    "file-link-dangling": (changed(lambda b: b.links.update(more="nothing")), "`more`", "a link to nothing"),
    "folder-link": (
        changed(lambda b: b.links.update(more="../bundle")),
        "`more`",
        "a link to a folder is not followed",
    ),
    "entry-digest-upper-case": (with_entry(sha256="AB" * 32), "`model.pte`", "digests are written in lower case"),
    "entry-digest-short": (with_entry(sha256="ab" * 31), "`model.pte`", "a digest has 64 digits"),
    "entry-digest-missing": (with_entry(sha256=None), "`model.pte`", "no digest"),
    "entry-bytes-negative": (with_entry(bytes=-1), "`model.pte`", "a count is not negative"),
    "entry-bytes-fraction": (with_entry(bytes=11.0), "`model.pte`", "a count has no fraction"),
    "entry-bytes-too-large": (with_entry(bytes=1 << 53), "`model.pte`", "the greatest count is 2^53 - 1"),
    "entry-not-an-object": (changed(lambda b: b.manifest["files"].update({"model.pte": []})), "`model.pte`", "a list"),
    "tokenizer-too-large": (with_listed("tokenizer.json", bytes=(64 << 20) + 1), "`tokenizer.json`", "at most 64 MiB"),
    "name-absolute": (with_listed("/etc/passwd"), "/etc/passwd", "a name that leaves the bundle"),
    "name-parent": (with_listed("../other"), "../other", "a name that leaves the bundle"),
    "name-parent-inside": (with_listed("a/../../other"), "a/../../other", "a name that leaves the bundle"),
    "name-dot": (with_listed("./model.pte"), "./model.pte", "a second name of one file"),
    "name-empty-part": (with_listed("a//b"), "a//b", "a second name of one file"),
    "name-folder": (with_listed("a/"), "a/", "a folder is not a file"),
    "name-empty": (with_listed(""), "``", "no name"),
    "name-backslash": (with_listed("a\\b"), "a\\b", "a separator elsewhere"),
    "name-control-character": (with_listed("a\nb"), "no file of a bundle", "a line end in a name"),
    "name-with-nul": (with_listed("a\0b"), "no file of a bundle", "U+0000 would end the name in C"),
    "name-reserved": (with_listed("manifest.sig"), "`manifest.sig`", "the manifest does not list its own files"),
    "name-too-long": (with_listed("/".join(["\u00f6" * 85] * 3) + "/o"), "no file of a bundle", "514 bytes of UTF-8"),
    "name-too-deep": (with_listed("/".join("abcdefghijklmnopq")), "no file of a bundle", "17 parts"),
    # Probe
    "probe-missing": (without("probe"), "probe", "a required field"),
    "probe-extra-member": (with_probe(more=1), "probe", "a probe has exactly four members"),
    "probe-without-tolerance": (
        with_fields(probe={name: value for name, value in PROBE.items() if name != "tolerance"}),
        "probe",
        "a probe has exactly four members",
    ),
    "probe-two-rows": (with_probe(input_ids=[[2, 7, 3]] * 2, attention_mask=[[1, 1, 1]] * 2), "probe", "one row"),
    "probe-not-a-row": (with_probe(input_ids=[2, 7, 3]), "probe", "a tensor [1, L] is a list of one list"),
    "probe-empty": (with_probe(input_ids=[[]], attention_mask=[[]]), "probe", "at least one token"),
    "probe-mask-shorter": (with_probe(attention_mask=[[1, 1]]), "probe", "a mask value for every id"),
    "probe-mask-two": (with_probe(attention_mask=[[1, 1, 2]]), "probe", "a mask value is 0 or 1"),
    "probe-id-negative": (with_probe(input_ids=[[2, -7, 3]]), "probe", "an id is not negative"),
    "probe-id-fraction": (with_probe(input_ids=[[2, 7.0, 3]]), "probe", "an id has no fraction"),
    "probe-id-too-large": (with_probe(input_ids=[[2, 1 << 31, 3]]), "probe", "an id fits in int32"),
    "probe-longer-than-max-length": (with_fields(max_length=2), "probe", "the program could not take it"),
    "probe-logits-for-other-classes": (with_probe(logits=[[0.5, 1, 2]]), "probe", "a logit for every class"),
    "probe-logit-text": (with_probe(logits=[[0.5, "1"]]), "probe", "a logit is a number"),
    "probe-logit-boolean": (with_probe(logits=[[0.5, True]]), "probe", "true is not a number"),
    "probe-logit-too-large": (with_probe(logits=[[0.5, 1e30]]), "probe", "the magnitude is below 1e30"),
    "probe-logit-infinite": (with_text("-0.25", "1e400"), "probe", "a number that float64 does not hold"),
    "probe-tolerance-negative": (with_probe(tolerance=-1e-4), "probe", "a tolerance is not negative"),
    "probe-tolerance-infinite": (with_text("0.0001", "1e400"), "probe", "nothing would ever be refused"),
    "probe-tolerance-beyond-all": (
        with_text("0.0001", "1e9223372036854775807"),
        "probe",
        "infinite, though its exponent fits in int64",
    ),
    "probe-tolerance-text": (with_probe(tolerance="1e-4"), "probe", "a tolerance is a number"),
    # Fleets
    "fleet-without-problem": (
        fleet_fields(problem="classification", labels=["a", "b"], probe=PROBE),
        "fleet",
        "one without the other",
    ),
    "fleet-problem-alone": (with_fields(problem="fleet", labels=[]), "fleet", "one without the other"),
    "fleet-null": (fleet_fields(fleet=None), "fleet", "null is not an object"),
    "fleet-with-labels": (fleet_fields(labels=["a", "b"]), "labels", "labels are those of the tasks"),
    "fleet-pairs-number": (fleet_fields(pairs=1), "pairs", "true, false or null, though tasks have their own"),
    "fleet-with-thresholds": (fleet_fields(thresholds=[0.5]), "thresholds", "thresholds are those of the tasks"),
    "fleet-probe-without-row": (fleet_fields(probe={}), "probe", "an input to measure with"),
    "fleet-backbone-not-a-digest": (fleet(backbone={"digest": "5a"}), "backbone", "64 hexadecimal digits"),
    "fleet-quantization-unknown": (fleet(quantization="int3"), "quantization", "an unknown word"),
    "fleet-bounds-missing": (fleet(bounds={}), "bounds", "parents, cells and classes"),
    "fleet-bounds-reversed": (fleet(bounds=FLEET["bounds"] | {"cells": [8, 1]}), "bounds", "the least comes first"),
    "fleet-bounds-zero": (fleet(bounds=FLEET["bounds"] | {"classes": [0, 4]}), "bounds", "at least 1"),
    "fleet-inputs-null": (fleet(inputs=None), "inputs", "null is not a list"),
    "fleet-input-dtype-unknown": (fleet_input(1, dtype="BF16"), "BF16", "a dtype that no task has"),
    "fleet-input-word-unknown": (fleet_input(1, shape=["rows"]), "rows", "a size that no reader knows"),
    "fleet-input-size-zero": (fleet_input(1, shape=[0]), "norm.weight", "a size is at least 1"),
    "fleet-input-size-too-large": (fleet_input(1, shape=[1 << 31]), "norm.weight", "a size fits in int32"),
    "fleet-input-nine-dimensions": (fleet_input(1, shape=[1] * 9), "norm.weight", "at most 8 dimensions"),
    "fleet-layout-int32": (fleet_input(0, dtype="I32"), "memories.0.layout", "a layout is I64 [3]"),
    "fleet-layout-two": (fleet_input(0, shape=[2]), "memories.0.layout", "a layout is I64 [3]"),
    "fleet-tasks-missing": (fleet(tasks=None), "tasks", "a required field"),
    "fleet-task-not-listed": (fleet(tasks={"topics": {"file": "model.ts"}}), "topics", "its file is one of `files`"),
    "fleet-task-name": (fleet(tasks={"../up": {"file": "tasks/topics.safetensors"}}), "../up", "not a task name"),
}
