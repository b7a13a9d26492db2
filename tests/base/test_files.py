"""Files and folders appear whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from spartanc.base.files import require_writable, whole_file, whole_folder, write_new, write_whole


def test_a_file_takes_the_place_of_the_old_one_and_obeys_the_umask(tmp_path):
    path = tmp_path / "new" / "page.html"
    before = os.umask(0o027)
    try:
        write_whole(path, "früher")
        write_whole(path, "später")
        with whole_file(tmp_path / "own", private=True) as file:
            file.write(b"1")
    finally:
        os.umask(before)
    assert path.read_text(encoding="utf-8") == "später"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("page.html", "old")]


def test_a_folder_takes_the_place_of_the_old_one_or_leaves_it(tmp_path):
    out = tmp_path / "data"
    with whole_folder(out) as folder:
        (folder / "a").write_text("1")
    with whole_folder(out) as folder:
        (folder / "b").write_text("2")
    assert [each.name for each in out.iterdir()] == ["b"]
    with pytest.raises(ZeroDivisionError), whole_folder(out) as folder:
        (folder / "c").write_text("3")
        raise ZeroDivisionError
    assert [each.name for each in out.iterdir()] == ["b"]
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


@pytest.fixture
def calls(monkeypatch):
    """Which files and folders were synced, and which names given, in order."""
    seen = []
    sync, replace, link = os.fsync, os.replace, os.link

    def synced(descriptor):
        seen.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        sync(descriptor)

    def replaced(old, new):
        seen.append(("name", Path(new)))
        replace(old, new)

    def linked(old, new):
        seen.append(("name", Path(new)))
        link(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "link", linked)
    return seen


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_after(tmp_path, calls):
    write_whole(tmp_path / "page.html", "text")
    (first, temporary), *rest = calls
    assert first == "sync"
    assert temporary.parent == tmp_path
    assert rest == [("name", tmp_path / "page.html"), ("sync", tmp_path)]


def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, calls):
    with whole_folder(tmp_path / "data") as folder:
        (folder / "in").mkdir()
        (folder / "in" / "a").write_text("1")
        (folder / "b").write_text("2")
        (folder / "link").symlink_to("nowhere")
        made = folder
    named = calls.index(("name", tmp_path / "data"))
    assert {path for _, path in calls[:named]} == {made, made / "in", made / "in" / "a", made / "b"}
    assert calls[named + 1 :] == [("sync", tmp_path)]


def test_a_new_file_never_takes_the_place_of_another_and_is_whole_before_it_has_its_name(tmp_path, calls):
    write_new(tmp_path / "key", b"one", 0o600)
    assert [call[0] for call in calls] == ["sync", "name", "sync"]
    assert [call[1] for call in calls[1:]] == [tmp_path / "key", tmp_path]
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "key", b"two", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"one"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_place_is_tried_before_the_work_and_left_as_it_was(tmp_path):
    write_whole(tmp_path / "page", "old")
    require_writable(tmp_path / "page")
    require_writable(tmp_path / "new")
    for wrong in (tmp_path, tmp_path / "absent" / "page", tmp_path / "page" / "below", tmp_path / ("n" * 256)):
        with pytest.raises(OSError, match=r"directory|too long"):
            require_writable(wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    assert (tmp_path / "page").read_text() == "old"


def test_a_new_file_needs_no_links(tmp_path, monkeypatch):
    def none_here(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", none_here)
    write_new(tmp_path / "key", b"one", 0o600)
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "key", b"two", 0o600)
    assert (tmp_path / "key").read_bytes() == b"one"
