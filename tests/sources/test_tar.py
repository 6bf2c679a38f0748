import io
import json
import tarfile

import pytest

from pipelines.errors import BadNight, ConfigError
from pipelines.records import Rejection


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_members_are_entries_with_labels_from_the_files_beside_them(
    tmp_path, source, contents, picture
):
    write_tar(
        tmp_path / "shard.tar",
        [
            ("0001.jpg", picture(1)),
            ("0001.cls", b"7\n"),
            ("0002.json", json.dumps({"label": "dog"}).encode()),
            ("0002.png", picture(2)),
            ("0003.png", picture(3)),
            ("0003.txt", b"cat"),
            ("0004.png", picture(4)),
            ("0004.txt", b"a caption\nof two lines"),
            ("0005.png", picture(5)),
        ],
    )

    found = contents(source(tmp_path))

    shard = f"{tmp_path}/shard.tar"
    assert {uri.removeprefix(shard): one.label for uri, (one, _) in found.items()} == {
        "#0001.jpg": "7",
        "#0002.png": "dog",
        "#0003.png": "cat",
        "#0004.png": None,
        "#0005.png": None,
    }
    entry, data = found[f"{shard}#0003.png"]
    assert data == picture(3)
    assert (entry.bytes, entry.container) == (len(data), shard)


def test_shards_named_train_and_test_are_a_split(tmp_path, source):
    for name in ("train-0000.tar", "test-0000.tar"):
        write_tar(tmp_path / name, [("1.jpg", b"x")])

    splits = {
        one.source_uri.split("/")[-1]: one.split for one in source(tmp_path).list()
    }

    assert splits == {"train-0000.tar#1.jpg": "train", "test-0000.tar#1.jpg": "eval"}


def test_a_members_name_is_a_name_and_not_a_path(tmp_path, source, contents):
    target = tmp_path / "in" / "shard.tar"
    target.parent.mkdir()
    write_tar(target, [("../../escaped.jpg", b"one"), ("/etc/passwd.jpg", b"two")])
    with tarfile.open(target, "a") as archive:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    found = contents(source(target))

    assert found[f"{target}#/etc/passwd.jpg"][1] == b"two"
    assert f"{target}#link.jpg" not in found
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "shard.tar"]


def test_a_name_held_twice_makes_two_entries(tmp_path, source, contents):
    write_tar(tmp_path / "a.tar", [("1.jpg", b"one"), ("1.jpg", b"two")])

    found = contents(source(tmp_path))

    assert sorted(data for _, data in found.values()) == [b"one", b"two"]


def test_a_compressed_tar_is_refused(tmp_path, source):
    write_tar(tmp_path / "a.tar.gz", [("1.jpg", b"one")], "w:gz")
    write_tar(tmp_path / "b.tar", [("1.jpg", b"one")], "w:gz")

    with pytest.raises(ConfigError, match="Decompress"):
        source(tmp_path / "a.tar.gz")
    with pytest.raises(ConfigError, match="Decompress"):
        list(source(tmp_path / "b.tar").list())


def test_half_a_tar_is_a_bad_night(tmp_path, source):
    path = tmp_path / "a.tar"
    write_tar(path, [("1.jpg", bytes(5000)), ("2.jpg", bytes(5000))])
    path.write_bytes(path.read_bytes()[:8000])

    with pytest.raises(BadNight, match=r"a\.tar"):
        list(source(path).list())


def test_a_tar_that_vanished_or_shrank_loses_its_images_alone(tmp_path, source):
    for name in ("a.tar", "b.tar", "c.tar"):
        write_tar(tmp_path / name, [("1.jpg", name.encode())])
    opened = source(tmp_path)
    entries = sorted(opened.list())
    (tmp_path / "a.tar").unlink()
    (tmp_path / "b.tar").write_bytes(b"")

    results = [content for _, content in opened.read(entries)]

    assert [isinstance(one, Rejection) for one in results] == [True, True, False]
    assert results[2] == b"c.tar"
