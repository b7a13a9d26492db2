"""A signed bundle is one that nobody changed since: in Python and in the native command alike."""

import json
import os
import re
import subprocess
import sys

import pytest

from spartanc.compiler.artifact import write_manifest
from spartanc.errors import MissingToolError, UsageError
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.signature import SIGNATURE, read_private_key, read_public_key, sign, write_key_pair
from support.artifacts import MANIFEST, reseal
from support.cli import spartanc, spartanc_json


@pytest.fixture
def key(tmp_path):
    write_key_pair(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def public(key):
    return key.with_name("key.pub")


@pytest.fixture
def bundle(tiny, tmp_path, key):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.pte").write_bytes(tiny[0].read_bytes())
    write_manifest(folder, MANIFEST, sign=key)
    return folder


def native(bundle, key, **environment):
    """Exit code and words of the native command, asked for a signature."""
    command = [build_runtime("host") / COMMAND, "info", bundle, "--require-signature", key]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    return done.returncode, done.stdout + done.stderr


def refused(bundle, key, words):
    with pytest.raises(UsageError, match=words) as caught:
        open_bundle(bundle, require_signature=key)
    assert caught.value.exit_code == 2
    code, said = native(bundle, key)
    assert (code, "error: " in said) == (2, True), said


def test_a_good_signature_is_taken_by_both(bundle, public):
    assert open_bundle(bundle, require_signature=public).is_signed
    code, said = native(bundle, public)
    assert code == 0, said
    assert json.loads(said)["signature"] == "good"


def test_what_was_not_asked_for_is_not_claimed(bundle):
    done = subprocess.run([build_runtime("host") / COMMAND, "info", bundle], capture_output=True, text=True)
    assert json.loads(done.stdout)["signature"] == "not checked"
    assert spartanc_json("inspect", bundle)["signature"] == "not checked"


def test_another_key_is_refused(bundle, tmp_path):
    refused(bundle, write_key_pair(tmp_path / "other"), "not signed with the key")


def test_a_missing_signature_is_refused(bundle, public):
    (bundle / SIGNATURE).unlink()
    refused(bundle, public, "is not signed, and")
    assert open_bundle(bundle).path == bundle


def test_whoever_changes_a_file_and_all_digests_is_found_out(bundle, public):
    manifest = json.loads((bundle / "manifest.json").read_text())
    reseal(bundle, json.dumps(manifest | {"labels": ["yes", "no"]}))
    assert open_bundle(bundle).labels == ("yes", "no")  # digests alone guard against accidents
    refused(bundle, public, "not signed with the key")


def test_every_changed_bit_of_a_signature_is_refused_by_both(bundle, public):
    data = (bundle / SIGNATURE).read_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        (bundle / SIGNATURE).write_bytes(changed)
        with pytest.raises(UsageError):
            open_bundle(bundle, require_signature=public)
        if position % 5 == 0:
            assert native(bundle, public)[0] == 2
    for changed in (b"", data[:-1], data + b"\0", b"\x30\x06\x02\x01\x00\x02\x01\x00", data * 40):
        (bundle / SIGNATURE).write_bytes(changed)
        refused(bundle, public, ".")


def test_a_signature_is_the_same_every_time(key):
    private = read_private_key(key)
    assert sign(b"manifest", private) == sign(b"manifest", private) != sign(b"another", private)


@pytest.mark.parametrize(
    "damage",
    [
        lambda pem: b"",
        lambda pem: pem[:-30],
        lambda pem: pem.replace(b"PUBLIC", b"PRIVATE"),
        lambda pem: pem.replace(b"MFk", b"MFo"),
        lambda pem: pem.replace(b"=", b""),
        lambda pem: pem[:60] + b"!" + pem[61:],
        lambda pem: pem[:100] + bytes([pem[100] ^ 1]) + pem[101:],  # no point of the curve
        lambda pem: pem + b" " * 5000,
    ],
)
def test_a_key_in_any_other_form_is_refused_by_both(bundle, public, damage):
    public.write_bytes(damage(public.read_bytes()))
    refused(bundle, public, "key|curve")


def test_a_key_of_another_curve_is_refused_by_both(bundle, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for curve in (ec.SECP384R1(), ec.SECP256K1()):
        key = ec.generate_private_key(curve)
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "other.pub").write_bytes(key.public_key().public_bytes(*form))
        refused(bundle, tmp_path / "other.pub", "P-256")
        secret = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / "other").write_bytes(key.private_bytes(*secret))
        with pytest.raises(UsageError, match="P-256"):
            read_private_key(tmp_path / "other")


def test_keys_are_private_and_never_replaced(key, public):
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        write_key_pair(key)
    public.unlink()
    with pytest.raises(UsageError, match="exists already"):
        write_key_pair(key)
    assert key.read_bytes() == before
    assert not public.exists()


def test_openssl_reads_what_we_write_and_the_other_way_round(tmp_path, bundle, public, key):
    if subprocess.run(["openssl", "version"], capture_output=True).returncode != 0:
        pytest.skip("no openssl here")
    check = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", bundle / SIGNATURE]
    assert subprocess.run([*check, bundle / "manifest.json"], capture_output=True).returncode == 0
    theirs = tmp_path / "theirs"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", theirs]
    subprocess.run(make, check=True, capture_output=True)
    write = ["openssl", "pkey", "-in", theirs, "-pubout", "-out", tmp_path / "theirs.pub"]
    subprocess.run(write, check=True, capture_output=True)
    read_public_key(tmp_path / "theirs.pub")
    (bundle / SIGNATURE).write_bytes(sign((bundle / "manifest.json").read_bytes(), read_private_key(theirs)))
    assert open_bundle(bundle, require_signature=tmp_path / "theirs.pub").is_signed


def test_without_a_verifier_what_should_be_checked_is_refused(bundle, public):
    """Python without `cryptography` says so; everything that asks for no signature goes on as before."""
    code = """
import sys
from pathlib import Path
sys.modules["cryptography"] = None
from spartanc.errors import MissingToolError
from spartanc.runtime_py.bundle import open_bundle
open_bundle(sys.argv[1])
try:
    open_bundle(sys.argv[1], require_signature=Path(sys.argv[2]))
except MissingToolError as error:
    print(error.exit_code, error.message)
"""
    done = subprocess.run([sys.executable, "-c", code, bundle, public], capture_output=True, text=True)
    assert done.stdout.startswith("5 "), done.stdout + done.stderr
    assert "nothing was checked" in done.stdout


def test_commands_ask_for_the_signature(bundle, public, key, tmp_path):
    assert spartanc_json("inspect", bundle, "--require-signature", public)["signature"] == "good"
    (bundle / SIGNATURE).unlink()
    for words in (
        ["inspect", bundle],
        ["run", bundle, "--text", "x"],
        ["bench", bundle],
        ["verify", bundle, "--expected", tmp_path / "none"],
        ["list", bundle],
        ["android-assets", bundle, "--out", tmp_path / "assets"],
    ):
        result = spartanc(*words, "--require-signature", public)
        assert result.exit_code == 2, words
        assert "is not signed" in result.stderr, words


def test_keygen_writes_both_halves(tmp_path):
    result = spartanc_json("keygen", tmp_path / "new")
    assert result == {"private": str(tmp_path / "new"), "public": str(tmp_path / "new.pub")}
    read_private_key(tmp_path / "new"), read_public_key(tmp_path / "new.pub")
    assert spartanc("keygen", tmp_path / "new").exit_code == 2


def test_a_key_without_its_public_half_is_kept_and_the_error_says_how_to_get_that(tmp_path):
    """As a loss of power between the two leaves it."""
    spartanc_json("keygen", tmp_path / "new")
    key, public = (tmp_path / "new").read_bytes(), (tmp_path / "new.pub").read_bytes()
    (tmp_path / "new.pub").unlink()
    refused = spartanc("keygen", tmp_path / "new")
    assert refused.exit_code == 2
    subprocess.run(re.search("`(openssl .*)` writes", refused.stderr)[1].split(), check=True)
    assert (tmp_path / "new").read_bytes() == key
    assert (tmp_path / "new.pub").read_bytes() == public


def test_a_cryptography_that_cannot_sign_the_same_way_twice_is_one_clear_error(key, monkeypatch):
    from cryptography.hazmat.primitives.asymmetric import ec

    class Old(ec.ECDSA):
        def __init__(self, algorithm):
            super().__init__(algorithm)

    monkeypatch.setattr(ec, "ECDSA", Old)
    with pytest.raises(MissingToolError, match="`cryptography` 43 or later"):
        sign(b"manifest", read_private_key(key))
