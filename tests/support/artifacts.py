"""Small bundles on disk, written by the real writer; the program in them is never run."""

from pathlib import Path

from spartanc.compiler.artifact import whole_or_nothing, write_manifest

MANIFEST = {
    "target": "host",
    "program": "model.pte",
    "labels": ["no", "yes"],
    "problem": "classification",
    "max_length": 16,
    "quantization": "none",
    "lowering": "fused",
    "probe": {"input_ids": [[1]], "attention_mask": [[1]], "logits": [[0.5, -0.5]], "tolerance": 1e-4},
}


def write_bundle(out: Path, **changes) -> Path:
    with whole_or_nothing(out) as directory:
        (directory / "model.pte").write_bytes(b"program" * 100)
        (directory / "tokenizer.json").write_text("{}")
        (directory / "runtime").mkdir()
        (directory / "runtime" / "spartan").write_bytes(b"native")
        write_manifest(directory, MANIFEST | changes)
    return out


def reseal(bundle: Path, manifest_text: str) -> None:
    """Put `manifest_text` in place with a digest that agrees, as someone who alters a bundle knowingly would."""
    import hashlib

    from spartanc.runtime_py.bundle import manifest_digest_line

    data = manifest_text.encode()
    (bundle / "manifest.json").write_bytes(data)
    (bundle / "manifest.sha256").write_text(manifest_digest_line(hashlib.sha256(data).hexdigest()))
