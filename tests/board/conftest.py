"""A whole board for the tests here: `make test-board` runs them, and a plain `pytest tests` does not."""

import numpy as np
import pytest
from board_image import board_image, what_is_missing
from board_machine import Board
from passed_before import PassedBefore

from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.setup_target import is_ready
from support.fleets import save_tasks, tiny_tasks
from support.models import WORDS, tiny_model

MAX_LENGTH = 16


def pytest_addoption(parser):
    parser.addoption("--go-on", action="store_true", help="leave out what passed before with these very sources")


def pytest_configure(config):
    config.pluginmanager.register(PassedBefore(config.getoption("--go-on")))


def compile_for_the_board(model, rows, quantize, folder):
    out = folder / "bundle"
    compile_model(
        CompileRequest(models=(model,), target="rpi4", out=out, max_length=MAX_LENGTH, quantize=quantize, data=rows)
    )
    return out


@pytest.fixture(scope="session")
def image():
    if (missing := what_is_missing()) is not None:
        pytest.fail(missing)
    if not is_ready("rpi4"):
        pytest.fail("run `spartanc setup rpi4` first (`make test-board` does)")
    return board_image()


@pytest.fixture(scope="session")
def the_board(image, tmp_path_factory):
    board = Board(image, tmp_path_factory.mktemp("board"))
    yield board
    board.cut()


@pytest.fixture
def board(the_board, monkeypatch):
    """Switched on; SPARTANC_SSH_COMMAND leads to it."""
    if not the_board.is_on:
        the_board.boot()
    monkeypatch.setenv("SPARTANC_SSH_COMMAND", the_board.ssh_command)
    return the_board


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """(a model's file, rows with labels): 2 layers of width 128."""
    folder = tmp_path_factory.mktemp("trained")
    save_model(tiny_model(hidden=128), folder / "model.pt")
    generator = np.random.default_rng(23)
    with (folder / "rows.csv").open("w") as rows:
        rows.write("text,label\n")
        for _ in range(60):
            words = generator.choice(WORDS, generator.integers(1, MAX_LENGTH - 2))
            rows.write(f"{' '.join(words)},{generator.choice(['a', 'b', 'c'])}\n")
    return folder / "model.pt", folder / "rows.csv"


@pytest.fixture(scope="session")
def compiled(trained, tmp_path_factory):
    """(the model's file, rows with labels, the bundle), fp32, for a Raspberry Pi 4."""
    return *trained, compile_for_the_board(*trained, "none", tmp_path_factory.mktemp("fp32"))


@pytest.fixture(scope="session")
def int8(trained, tmp_path_factory):
    """The bundle, int8."""
    return compile_for_the_board(*trained, "int8", tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    """Three tasks for a Raspberry Pi 4."""
    folder = tmp_path_factory.mktemp("fleet")
    models = tuple(save_tasks(tiny_tasks("bert"), folder).values())
    common = {"target": "rpi4", "max_length": MAX_LENGTH, "quantize": "none", "shared_backbone": True}
    compile_model(CompileRequest(models=models, out=folder / "fleet", **common))
    return folder / "fleet"


@pytest.fixture
def sent(monkeypatch):
    """Names of the files that went over ssh since."""
    from spartanc.runtime_py.devices.ssh import SshWire

    names = []
    send = SshWire.send

    def watched(self, files, folder):
        names.extend(path.name for path in files.values())
        send(self, files, folder)

    monkeypatch.setattr(SshWire, "send", watched)
    return names
