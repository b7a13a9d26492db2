"""A fleet that a native and a Python server answer from, and what eager PyTorch says."""

import threading
from contextlib import contextmanager

import pytest

from spartanc.base.targets.catalogue import find_target
from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.runtime_py.build import install_runtime
from support.bundles import make_bundle
from support.compiled import MAX_LENGTH
from support.fleets import on_backbone_of, save_tasks, tiny_tasks
from support.models import tiny_model
from support.programs import SlowClassifier, export
from support.service import KINDS, TASKS, Client, Fleet, require_same, served


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    models = tiny_tasks("bert")
    several = tiny_model("bert", problem="multilabel", labels=("p", "q"), thresholds=(0.5, 0.5), seed=7)
    several.eval_examples = models["three"].eval_examples
    models["several"] = on_backbone_of(models["three"], several)
    models = {name: models[name] for name in TASKS}
    paths = tuple(save_tasks(models, folder).values())
    request = {"models": paths, "target": "host", "out": folder / "fleet", "quantize": "none"}
    compile_model(CompileRequest(max_length=MAX_LENGTH, shared_backbone=True, **request))
    install_runtime(find_target("host"), folder)
    return Fleet(folder / "fleet", folder / "runtime", models)


@pytest.fixture(scope="session")
def questions(fleet):
    return fleet.questions(40)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def server(kind, fleet, tmp_path_factory):
    path = tmp_path_factory.mktemp("socket") / "s"
    with served(kind, fleet.runtime, fleet.path, path) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def impatient(kind, fleet, tmp_path_factory):
    """A server that loses patience after a second."""
    path = tmp_path_factory.mktemp("socket") / "s"
    with served(kind, fleet.runtime, fleet.path, path, "--patience", "1") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory):
    """A bundle whose answers take a while."""
    folder = tmp_path_factory.mktemp("slow")
    export(SlowClassifier(), folder / "slow.pte")
    return make_bundle(folder / "bundle", folder / "slow.pte")


@pytest.fixture
def client(server):
    with Client(server.path) as client:
        yield client


@pytest.fixture
def unharmed(questions):
    """A context in which another client asks `server` all the time, and gets its answers."""

    @contextmanager
    def watched(server):
        ended, failures, count = threading.Event(), [], [0]

        def ask():
            try:
                with Client(server.path) as other:
                    while not ended.is_set():
                        number = count[0]
                        request, expected = questions[number % len(questions)]
                        require_same(other.ask(id=number, **request), number, expected)
                        count[0] = number + 1
            except BaseException as error:
                failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        while count[0] < 1 and not failures:
            ended.wait(0.01)
        before = count[0]
        try:
            yield
            while count[0] < before + 3 and not failures:
                ended.wait(0.01)
        finally:
            ended.set()
            asking.join()
        assert failures == []

    return watched
