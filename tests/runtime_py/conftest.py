"""Compiled programs and a cache that these tests share."""

import pytest

from support.programs import export_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """(path of the tiny program, the module it came from)"""
    path = tmp_path_factory.mktemp("tiny") / "tiny.pte"
    return path, export_tiny(path)
