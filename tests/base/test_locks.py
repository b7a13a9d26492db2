import pytest

from spartanc.base.locks import claimed
from spartanc.compiler.artifact import replaced_whole
from spartanc.errors import UsageError


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    refusal = UsageError("somebody is at it")
    with claimed(tmp_path, refusal), pytest.raises(UsageError, match="somebody is at it"), claimed(tmp_path, refusal):
        raise AssertionError("held twice")
    with claimed(tmp_path, refusal):
        pass


def test_a_bundle_that_is_being_changed_is_left_to_who_changes_it(tmp_path):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    refused = pytest.raises(UsageError, match="being changed by another program")
    with claimed(bundle, UsageError("no")), refused, replaced_whole(bundle):
        raise AssertionError("changed by two")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
