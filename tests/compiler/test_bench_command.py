"""`spartanc bench`: the promised fields, the report, and what it refuses."""

import pytest

from support.bundles import make_bundle
from support.cli import spartanc, spartanc_json
from support.programs import export_tiny


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    export_tiny(folder / "tiny.pte")
    return make_bundle(folder / "bundle", folder / "tiny.pte")


def test_bench_prints_its_json_and_writes_its_report(bundle, tmp_path):
    report = tmp_path / "report.html"
    result = spartanc_json(
        "bench", bundle, "--length", 8, "--threads", 1, "--seconds", 1, "--lengths", "4,8", "--html", report
    )
    assert result["length"] == 8
    assert result["latency_ms"]["p50"] > 0
    assert isinstance(result["trustworthy"], bool)
    assert [point["length"] for point in result["lengths"]] == [4, 8]
    assert result["operators"]
    assert "<svg" in report.read_text()


def test_an_untrustworthy_result_still_exits_0(bundle):
    # A run of two microseconds on any machine leaves some doubt or none; either way it is no failure.
    done = spartanc("bench", bundle, "--length", 8, "--seconds", 0.5)
    assert done.exit_code == 0
    assert "trustworthy" in done.stdout
    assert "median" in done.stdout


@pytest.mark.parametrize("options", [["--length", 99], ["--lengths", "a,b"], ["--device", "toaster"], ["--seconds", 0]])
def test_wrong_use_is_exit_2(bundle, options):
    assert spartanc("bench", bundle, *options).exit_code == 2
