"""The kernels and their tests' programs, built once for all tests that run them."""

import pytest

from support.kernels import build, build_for_arm


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory):
    """The folder of programs for this machine."""
    return build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def arm_kernels(tmp_path_factory):
    """The folder of programs for aarch64, to be run under qemu."""
    return build_for_arm(tmp_path_factory.mktemp("arm-kernels"))
