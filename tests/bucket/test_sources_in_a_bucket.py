import collections
import io
import tarfile

import cv2
import numpy as np
import pytest

from pipelines.config import SourceSettings
from pipelines.errors import BadNight, ConfigError
from pipelines.lake import bucket, store
from pipelines.records import Rejection
from pipelines.sources import remote
from pipelines.sources.registry import detect, open_source


def png(value):
    done, data = cv2.imencode(".png", np.full((8, 8, 3), value, np.uint8))
    assert done
    return data.tobytes()


def fill(root, files):
    for name, data in files.items():
        store.write_bytes(f"{root}/{name}", data)


def settings(root, **more):
    return SourceSettings(path=root, **more)


@pytest.fixture
def asked(monkeypatch, lake_root):
    """Return how often each operation is asked of the server from here on."""
    count = collections.Counter()
    fs, _ = bucket.filesystem(lake_root)
    fs.connect()
    fs.s3.meta.events.register(
        "before-call.s3", lambda model, **_: count.update([model.name])
    )
    return count


def test_a_tree_of_images_in_a_bucket_is_listed_and_read(lake_root):
    fill(lake_root, {"a/1.png": png(1), "b/2.png": png(2), "b/.hidden": b""})

    source = open_source(settings(lake_root))
    entries = sorted(source.list())
    found = dict(source.read(entries))

    assert [entry.source_uri for entry in entries] == [
        f"{lake_root}/a/1.png",
        f"{lake_root}/b/2.png",
    ]
    assert [entry.label for entry in entries] == ["a", "b"]
    assert all(entry.bytes and entry.modified and entry.etag for entry in entries)
    assert list(found.values()) == [png(1), png(2)]
    assert source.roots() == [f"{lake_root}/"]


def test_a_large_prefix_is_listed_once_however_often_its_kind_is_asked(
    lake_root, asked, monkeypatch
):
    fill(lake_root, {f"a/{number:02}.png": b"x" for number in range(25)})
    fs, _ = bucket.filesystem(lake_root)
    original, whole = fs.call_s3, []

    def small_pages(method, **given):
        if method == "list_objects_v2" and "MaxKeys" not in given:
            whole.append(given.get("ContinuationToken"))
            given |= {"MaxKeys": 10}
        return original(method, **given)

    monkeypatch.setattr(fs, "call_s3", small_pages)

    assert len(list(open_source(settings(lake_root, kind="folder")).list())) == 25
    assert len(whole) == 3  # pages of ten

    open_source(settings(lake_root)).roots()
    assert asked["HeadObject"] == 0


def test_the_kind_is_told_without_listing_everything(lake_root, asked):
    fill(lake_root, {"one.tar": b"", "two.tar": b""})

    assert detect(settings(lake_root)) == "tar"
    assert sum(asked.values()) <= 4


def test_a_glob_in_a_bucket_asks_nothing_of_each_file(lake_root, asked):
    fill(lake_root, {f"a/{number}.png": png(number) for number in range(5)})
    asked.clear()

    entries = list(open_source(settings(f"{lake_root}/a/*.png", kind="folder")).list())

    assert len(entries) == 5
    assert asked["HeadObject"] <= 2


def test_a_tar_in_a_bucket_is_read_where_its_members_lie(lake_root):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in {"1.png": png(1), "1.cls": b"7", "2.png": png(2)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    fill(lake_root, {"shard-0.tar": packed.getvalue()})

    source = open_source(settings(lake_root))
    entries = sorted(source.list())

    assert [entry.label for entry in entries] == ["7", None]
    assert [data for _, data in source.read(entries)] == [png(1), png(2)]


def test_a_list_names_files_of_a_bucket_and_one_that_is_gone(lake_root):
    fill(lake_root, {f"images/{number}.png": png(number) for number in range(3)})
    lines = ["path,label", *(f"images/{n}.png,l{n}" for n in (0, 1, 2, 9))]
    fill(lake_root, {"list.csv": "\n".join(lines).encode()})

    source = open_source(settings(f"{lake_root}/list.csv"))
    entries = list(source.list())
    found = [data for _, data in source.read(entries)]

    assert [entry.label for entry in entries] == ["l0", "l1", "l2", "l9"]
    assert entries[0].bytes == len(png(0))
    assert found[:3] == [png(0), png(1), png(2)]
    assert isinstance(found[3], Rejection)
    assert found[3].reason == "missing"


def test_no_more_bytes_are_asked_for_at_once_than_is_bounded():
    large = remote.BYTES_AT_ONCE // 2
    sizes = [large, large, large, 3 * large, 1, None, *[10] * 200]

    found = list(remote.batches(sizes))

    assert found[:4] == [(0, 2), (2, 3), (3, 4), (4, 68)]
    assert found[-1][1] == len(sizes)
    for start, stop in found:
        assert stop - start <= remote.FILES_AT_ONCE
        known = sum(size or remote.UNKNOWN_BYTES for size in sizes[start:stop])
        assert known <= remote.BYTES_AT_ONCE or stop - start == 1


def test_a_source_that_is_not_there_is_a_setting_and_an_empty_one_a_bad_night(
    lake_root,
):
    with pytest.raises(ConfigError, match="nothing-here is not there"):
        open_source(settings(f"{lake_root}/nothing-here"))
    with pytest.raises(ConfigError, match="no bucket 'no-such-bucket'"):
        open_source(settings("s3://no-such-bucket/x"))
    fill(lake_root, {".hidden": b"x"})
    with pytest.raises(BadNight, match="holds no files"):
        open_source(settings(lake_root))


def test_wrong_keys_stop_a_listing_and_are_no_missing_images(s3, lake_root, as_if):
    if not s3.is_real:
        pytest.skip("moto's server takes any key")
    fill(lake_root, {"a/1.png": png(1)})
    source = open_source(settings(lake_root))
    entries = list(source.list())

    as_if({"AWS_ACCESS_KEY_ID": "nobody"})

    with pytest.raises(ConfigError, match="refuses the keys"):
        open_source(settings(lake_root))
    with pytest.raises(ConfigError, match="refuses the keys"):
        list(open_source(settings(lake_root, kind="folder")).read(entries))
