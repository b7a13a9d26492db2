"""Signatures of bundles: ECDSA over the curve P-256 with SHA-256, of the bytes of manifest.json.

    KEY             private key: PEM, PKCS #8, not encrypted, readable by its owner alone
    KEY.pub         public key: PEM, SubjectPublicKeyInfo; the app's asset `spartanc.pub` is such a file
    manifest.sig    signature: DER, as OpenSSL and Java write it

The manifest holds the digest of every other file, so its signature is one over the whole bundle. Needs the package
`cryptography`, which is imported when a signature is made or asked for and not before.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Any

from spartanc.base.files import write_new
from spartanc.errors import MissingToolError, UsageError

SIGNATURE = "manifest.sig"
SIGNATURE_LIMIT = 72  # bytes: two numbers of 33 and the DER around them
_KEY_LIMIT = 4096
_PEM = re.compile(rb"\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]*)-----END PUBLIC KEY-----\s*")
# RFC 5480: id-ecPublicKey on secp256r1, then the point as 4 and two numbers of 32 bytes. One form, so that every
# reader takes the same keys.
_DER_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_DER_SIZE = len(_DER_HEAD) + 64


def write_key_pair(path: Path) -> Path:
    """Make a key and write it to `path`, its public half to `path`.pub; returns that. Never replaces a file."""
    ec, serialization = _ec(), _cryptography("hazmat.primitives.serialization")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(path.name + ".pub")
    if os.path.lexists(beside):
        raise UsageError(f"`{beside}` exists already; keys are never replaced")
    if os.path.lexists(path):  # a loss of power may come between the two
        raise UsageError(
            f"`{path}` exists already; keys are never replaced",
            hint=f"`openssl pkey -in {path} -pubout -out {beside}` writes its public half",
        )
    _write_new(path, private, 0o600)
    try:
        _write_new(beside, public, 0o644)
    except BaseException:
        path.unlink()
        raise
    return beside


def read_private_key(path: Path) -> Any:
    """The key that `write_key_pair`, or OpenSSL, wrote to `path`."""
    serialization, ec = _cryptography("hazmat.primitives.serialization"), _ec()
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, _cryptography("exceptions").UnsupportedAlgorithm) as error:
        raise UsageError(f"`{path}` is not a private key that can be read: {error}", hint=_KEY_HINT) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"the key `{path}` is not of the curve P-256", hint=_KEY_HINT)
    return key


def read_public_key(path: Path) -> Any:
    """The public key in the PEM file `path`; UsageError unless it is of P-256, in its one form."""
    matched = _PEM.fullmatch(_read(path))
    if matched is None:
        raise UsageError(f"`{path}` is not a public key in a PEM file", hint=_KEY_HINT)
    try:
        der = base64.b64decode(b"".join(matched[1].split()), validate=True)
    except binascii.Error as error:
        raise UsageError(f"the public key `{path}` can't be read: {error}") from error
    if len(der) != _DER_SIZE or not der.startswith(_DER_HEAD):
        raise UsageError(f"the public key `{path}` is not of the curve P-256", hint=_KEY_HINT)
    try:
        return _cryptography("hazmat.primitives.serialization").load_der_public_key(der)
    except ValueError as error:
        raise UsageError(f"the public key `{path}` is no point of the curve P-256") from error


def sign(manifest: bytes, key: Any) -> bytes:
    """The signature of `manifest`; the same one every time (RFC 6979)."""
    hashes = _cryptography("hazmat.primitives.hashes")
    try:
        algorithm = _ec().ECDSA(hashes.SHA256(), deterministic_signing=True)
    except TypeError as error:  # Debian 12's is 38
        raise MissingToolError(
            f"signing needs the package `cryptography` 43 or later, here is {_cryptography('__about__').__version__}",
            hint="pip install --upgrade cryptography",
        ) from error
    return key.sign(manifest, algorithm)


def is_signed(manifest: bytes, signature: bytes, key: Any) -> bool:
    """Whether `signature` is one of `manifest`, made with the private half of `key`."""
    hashes = _cryptography("hazmat.primitives.hashes")
    try:
        key.verify(signature, manifest, _ec().ECDSA(hashes.SHA256()))
    except _cryptography("exceptions").InvalidSignature:
        return False
    return True


_KEY_HINT = "`spartanc keygen KEY` writes a pair: KEY to sign with, KEY.pub to check with"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_KEY_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"the key `{path}` can't be read: {error.strerror}", hint=_KEY_HINT) from error
    if len(data) > _KEY_LIMIT:
        raise UsageError(f"`{path}` is too large for a key", hint=_KEY_HINT)
    return data


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        write_new(path, data, mode)
    except FileExistsError as error:
        raise UsageError(f"`{path}` exists already; keys are never replaced") from error
    except OSError as error:
        raise UsageError(f"the key `{path}` can't be written: {error.strerror}") from error


def _ec() -> Any:
    return _cryptography("hazmat.primitives.asymmetric.ec")


def _cryptography(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"cryptography.{module}")
    except ImportError as error:
        raise MissingToolError(
            "signatures need the package `cryptography`, which is missing here: nothing was checked or loaded",
            hint="pip install cryptography",
        ) from error
