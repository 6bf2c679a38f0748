import collections
import errno
import os
import shutil

import pytest

from pipelines.errors import ArtifactMismatch, ConfigError, OutOfSpace
from pipelines.lake import manifest, store
from pipelines.lake.layout import Lake, absolute


def test_a_file_written_aside_appears_whole_or_not_at_all(tmp_path):
    path = str(tmp_path / "deep" / "file.bin")

    with pytest.raises(ZeroDivisionError), store.aside(path) as file:
        file.write(b"%d" % (1 // 0))

    assert not store.exists(path)
    assert os.listdir(tmp_path / "deep") == []
    store.write_bytes(path, b"whole")
    assert store.read_bytes(path) == b"whole"


def test_a_full_disk_is_named(tmp_path):
    with (
        pytest.raises(OutOfSpace, match="disk is full"),
        store.aside(str(tmp_path / "x")),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_foreseen(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 2**30))

    store.require_free(str(tmp_path / "not" / "yet"), 2**20, "a megabyte")
    with pytest.raises(OutOfSpace, match="20,480 MiB"):
        store.require_free(str(tmp_path), 20 * 2**30, "the shards")


def test_names_leave_hidden_files_out(tmp_path):
    store.write_bytes(str(tmp_path / "b"), b"")
    store.write_bytes(str(tmp_path / "a"), b"")
    (tmp_path / ".a.aside").touch()

    assert store.names(str(tmp_path)) == ["a", "b"]
    assert store.names(str(tmp_path / "missing")) == []


def test_the_same_calls_work_on_another_filesystem():
    store.write_json("memory://bucket/x/y.json", {"a": 1})

    assert store.read_json("memory://bucket/x/y.json") == {"a": 1}
    assert store.exists("memory://bucket/x/y.json")
    assert store.names("memory://bucket/x") == ["y.json"]
    store.delete("memory://bucket/x")
    assert not store.exists("memory://bucket/x/y.json")


def test_an_object_in_a_bucket_appears_whole_or_not_at_all():
    path = "memory://bucket/half"

    with pytest.raises(ZeroDivisionError), store.aside(path) as file:
        file.write(b"%d" % (1 // 0))

    assert not store.exists(path)


def test_a_manifest_of_a_newer_format_is_refused_by_name(tmp_path):
    lake = Lake(str(tmp_path), "birds")
    store.write_json(lake.manifest("r", "ingest"), {"format_version": 99})

    with pytest.raises(ArtifactMismatch, match="99"):
        manifest.read(lake, "r", "ingest")


@pytest.mark.parametrize("data", [b"{", b"", b"\xff\xfe"])
def test_a_damaged_file_of_json_is_named(tmp_path, data):
    path = str(tmp_path / "run.json")
    store.write_bytes(path, data)

    with pytest.raises(ArtifactMismatch, match=r"run\.json: is damaged"):
        store.read_json(path)


def test_a_lake_is_absolute_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert absolute("lake/") == str(tmp_path / "lake")
    assert absolute("s3://bucket/x/") == "s3://bucket/x"
    assert absolute(f"file://{tmp_path}/lake/") == str(tmp_path / "lake")


@pytest.mark.parametrize("given", ["s3://", "s3:///x", "s3:/bucket/x", "s3:bucket"])
def test_a_bucket_that_is_mistyped_is_no_folder(given):
    with pytest.raises(ConfigError, match="names no bucket"):
        absolute(given)
