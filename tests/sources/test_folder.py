import os
import socket

import fsspec
import pytest

from pipelines.errors import BadNight, ConfigError
from pipelines.records import Rejection
from pipelines.sources.files import Files, read_local
from pipelines.sources.folder import FolderSource


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def labels(root, opened):
    return {
        os.path.relpath(one.source_uri, root): (one.label, one.split)
        for one in opened.list()
    }


def test_every_file_is_an_entry_labelled_by_its_folder(tmp_path, source, contents):
    put(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "top.jpg", "cat/notes.txt")

    found = contents(source(tmp_path))

    entry, data = found[f"{tmp_path}/cat/1.jpg"]
    assert len(found) == 5
    assert (entry.label, entry.bytes, data) == ("cat", 9, b"cat/1.jpg")
    assert entry.modified == os.stat(entry.source_uri).st_mtime_ns // 1000
    assert found[f"{tmp_path}/top.jpg"][0].label is None


def test_one_folder_makes_no_labels(tmp_path, source):
    put(tmp_path, "images/1.jpg", "images/2.jpg")

    assert labels(tmp_path, source(tmp_path))["images/1.jpg"] == (None, None)


def test_labels_can_be_left_alone(tmp_path, source):
    put(tmp_path, "cat/1.jpg", "dog/1.jpg")

    assert labels(tmp_path, source(tmp_path, label="none"))["cat/1.jpg"][0] is None


def test_train_and_test_folders_are_the_sources_own_split(tmp_path, source):
    put(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "val/x/4.jpg")

    assert labels(tmp_path, source(tmp_path)) == {
        "train/cat/1.jpg": ("cat", "train"),
        "train/dog/2.jpg": ("dog", "train"),
        "test/cat/3.jpg": ("cat", "eval"),
        "val/x/4.jpg": ("x", "eval"),
    }


def test_a_train_folder_alone_is_a_label(tmp_path, source):
    put(tmp_path, "train/1.jpg", "bus/2.jpg")

    assert labels(tmp_path, source(tmp_path))["train/1.jpg"] == ("train", None)


def test_hidden_and_system_files_are_no_entries(tmp_path, source):
    put(tmp_path, "a/1.jpg", ".git/2.jpg", "a/.DS_Store", "a/Thumbs.db")
    put(tmp_path, "__MACOSX/3.jpg")

    assert set(labels(tmp_path, source(tmp_path))) == {"a/1.jpg"}


def test_a_link_that_leaves_the_root_is_not_followed(tmp_path, source):
    put(tmp_path, "secret/1.jpg", "root/a/2.jpg")
    root = tmp_path / "root"
    (root / "a" / "out.jpg").symlink_to(tmp_path / "secret" / "1.jpg")
    (root / "a" / "in.jpg").symlink_to(root / "a" / "2.jpg")
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "a" / "lost.jpg").symlink_to(root / "nowhere")

    assert set(labels(root, source(root))) == {"a/2.jpg", "a/in.jpg"}


def test_a_pipe_is_never_opened(tmp_path, source):
    put(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "a" / "2.jpg")

    assert set(labels(tmp_path, source(tmp_path))) == {"a/1.jpg"}


def test_a_name_that_is_no_text_is_quoted_and_read(tmp_path, source, contents):
    put(tmp_path, "a/1.jpg")
    with open(os.fsencode(tmp_path) + b"/a/\xff 100%.jpg", "wb") as file:
        file.write(b"odd")

    found = contents(source(tmp_path))

    assert found[f"{tmp_path}/a/%FF 100%.jpg"][1] == b"odd"


def test_a_file_that_vanished_is_a_rejection(tmp_path, source):
    put(tmp_path, "a/1.jpg", "a/2.jpg")
    opened = source(tmp_path)
    entries = sorted(opened.list())
    (tmp_path / "a" / "1.jpg").unlink()

    (_, first), (_, second) = opened.read(entries)

    assert isinstance(first, Rejection)
    assert first.reason == "missing"
    assert second == b"a/2.jpg"


def test_a_glob_lists_what_matches(tmp_path, source, contents):
    put(tmp_path, ".demo/a_1.jpg", ".demo/a_2.jpg", ".demo/b.jpg")

    found = contents(source(tmp_path / ".demo" / "a_*.jpg", kind="folder"))

    assert set(found) == {f"{tmp_path}/.demo/a_1.jpg", f"{tmp_path}/.demo/a_2.jpg"}


def test_an_empty_source_is_a_bad_night_and_a_missing_one_a_setting(tmp_path, source):
    with pytest.raises(BadNight, match=str(tmp_path)):
        list(source(tmp_path, kind="folder").list())
    with pytest.raises(ConfigError, match="nowhere"):
        list(source(tmp_path / "nowhere", kind="folder").list())
    with pytest.raises(ConfigError, match="nosuch"):
        source("nosuch://bucket/images", kind="folder")


def test_a_remote_tree_is_listed_and_read_alike(source, contents):
    fs = fsspec.filesystem("memory")
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/.hidden"):
        fs.pipe(f"/pets/{name}", name.encode())

    found = contents(source("memory://pets"))

    assert {uri: (entry.label, data) for uri, (entry, data) in found.items()} == {
        "memory:///pets/cat/1.jpg": ("cat", b"cat/1.jpg"),
        "memory:///pets/cat/2.jpg": ("cat", b"cat/2.jpg"),
        "memory:///pets/dog/3.jpg": ("dog", b"dog/3.jpg"),
    }
    fs.rm("/pets", recursive=True)


class Flaky(fsspec.get_filesystem_class("memory")):
    """Memory that resets the connection so many times."""

    protocol = "flaky"
    resets = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky:/"))

    def cat_file(self, path, start=None, end=None, **options):
        if Flaky.resets:
            Flaky.resets -= 1
            raise ConnectionResetError("reset by peer")
        return super().cat_file(path, start, end, **options)


@pytest.fixture
def flaky():
    """Return a function that reads files over a line that fails so many times."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    fsspec.filesystem("flaky").pipe("/far/1.jpg", b"here")

    def read(name, retries, resets):
        Flaky.resets = resets
        return list(Files("flaky://far", retries).read([f"flaky:///far/{name}"]))

    yield read
    fsspec.filesystem("flaky").rm("/far", recursive=True)


def test_a_read_that_fails_on_the_network_is_tried_again(flaky):
    assert flaky("1.jpg", retries=1, resets=2) == [b"here"]


def test_a_network_that_stays_away_is_an_accident_and_no_rejection(flaky):
    with pytest.raises(ConnectionResetError):
        flaky("1.jpg", retries=0, resets=9)


def test_a_remote_file_that_vanished_is_missing(flaky):
    (found,) = flaky("2.jpg", retries=1, resets=0)

    assert found.reason == "missing"


def test_a_remote_name_that_looks_like_a_glob_is_a_name(flaky):
    far = fsspec.filesystem("flaky")
    far.pipe("/far/a[1].jpg", b"one")
    far.pipe("/far/b*.jpg", b"star")

    found = Files("flaky://far", 1).read(
        ["flaky:///far/a[1].jpg", "flaky:///far/b*.jpg", "flaky:///far/1.jpg"]
    )

    assert list(found) == [b"one", b"star", b"here"]


def test_a_name_that_can_be_no_files_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
        names = ["x" * 300, "loop", "sock", "nul\0"]
        found = [read_local(str(tmp_path / name)) for name in names]

    assert [one.reason for one in found] == ["missing"] * 4


def test_entries_make_a_source_readable_elsewhere(tmp_path, source):
    put(tmp_path, "a/1.jpg")
    entries = list(source(tmp_path).list())

    again = source(tmp_path, kind="folder")

    assert isinstance(again, FolderSource)
    assert [data for _, data in again.read(entries)] == [b"a/1.jpg"]
