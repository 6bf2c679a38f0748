"""The cache of training examples: bounded, by digest, safe for two processes."""

import hashlib
import os
import pathlib
import subprocess
import sys

import fsspec
import pytest

from pipelines.errors import ArtifactMismatch, ConfigError
from pipelines.lake import nearby
from pipelines.lake.nearby import FarFile
from pipelines.lake.nearby_cache import InUse

HOLD = """
import sys
from pipelines.lake import nearby_cache
cache = nearby_cache.Cache(sys.argv[1], 10**9)
with cache.using({sys.argv[2]: int(sys.argv[3])}) as aside:
    (aside / "half").write_bytes(b"?" * 100)
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """Return a function that puts a file of so many bytes into a bucket."""
    monkeypatch.setenv("LATENTLAKE_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")

    def put(name, size):
        data = hashlib.sha256(name.encode()).digest() * (size // 32)
        memory.pipe(f"/{tmp_path.name}/{name}", data)
        digest = hashlib.sha256(data).hexdigest()
        return FarFile(f"memory://{tmp_path.name}/{name}", len(data), digest)

    yield put
    if memory.exists(f"/{tmp_path.name}"):
        memory.rm(f"/{tmp_path.name}", recursive=True)


def bound(monkeypatch, size):
    monkeypatch.setenv("LATENTLAKE_CACHE_GB", str(size / 1e9))


def cached(tmp_path):
    found = (tmp_path / "cache" / "files").glob("*/*")
    return {path.stem: path for path in found}


def touch(path, seconds):
    os.utime(path, (seconds, seconds))


def test_files_come_in_the_order_asked_for_and_are_not_fetched_again(bucket):
    wanted = [bucket(name, 320) for name in "cab"]

    with nearby.files(wanted) as first:
        read = [pathlib.Path(path).read_bytes() for path in first]
    fsspec.filesystem("memory").rm(wanted[0].path.removeprefix("memory:/"))
    with nearby.files(wanted) as second:
        assert second == first

    assert [hashlib.sha256(data).hexdigest() for data in read] == [
        one.sha256 for one in wanted
    ]


def test_a_damaged_copy_is_fetched_again(bucket, tmp_path):
    one = bucket("a", 320)
    with nearby.files([one]) as (path,):
        pass
    with open(path, "r+b") as file:
        file.write(b"?")

    with nearby.files([one]) as (again,):
        data = pathlib.Path(again).read_bytes()

    assert hashlib.sha256(data).hexdigest() == one.sha256


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_a_file_that_the_bucket_lacks_or_spoils_is_named(bucket, tmp_path, harm):
    one = bucket("a", 320)
    memory = fsspec.filesystem("memory")
    if harm == "damaged":
        memory.pipe(one.path.removeprefix("memory:/"), b"?" * 320)
    else:
        memory.rm(one.path.removeprefix("memory:/"))

    with (
        pytest.raises(ArtifactMismatch, match=rf"/a: is {harm}"),
        nearby.files([one]),
    ):
        pass

    assert cached(tmp_path) == {}
    assert list((tmp_path / "cache" / "users").iterdir()) == []


def test_what_was_not_used_for_longest_makes_room(bucket, tmp_path, monkeypatch):
    old, older, new = (bucket(name, 320) for name in ("old", "older", "new"))
    bound(monkeypatch, 700)
    with nearby.files([old, older]) as paths:
        pass
    touch(paths[0], 2_000)
    touch(paths[1], 1_000)

    with nearby.files([new]):
        assert set(cached(tmp_path)) == {old.sha256, new.sha256}


def test_a_use_makes_a_file_young_again(bucket, tmp_path, monkeypatch):
    one, two, new = (bucket(name, 320) for name in ("one", "two", "new"))
    bound(monkeypatch, 700)
    with nearby.files([one, two]) as paths:
        pass
    touch(paths[0], 1_000)
    touch(paths[1], 2_000)
    with nearby.files([one]):
        pass

    with nearby.files([new]):
        assert set(cached(tmp_path)) == {one.sha256, new.sha256}


def test_one_training_set_larger_than_the_cache_says_what_is_needed(
    bucket, monkeypatch
):
    wanted = [bucket(name, 3_200_000) for name in "ab"]
    bound(monkeypatch, 4_000_000)

    said = r"are 0\.006 GB.*may hold 0\.004 GB\. Set LATENTLAKE_CACHE_GB to 0\.007"
    with pytest.raises(ConfigError, match=said), nearby.files(wanted):
        pass


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan", "inf"])
def test_a_bound_that_is_no_size_is_refused(bucket, monkeypatch, given):
    monkeypatch.setenv("LATENTLAKE_CACHE_GB", given)

    with pytest.raises(ConfigError, match=f"found '{given}'"), nearby.files([]):
        pass


def hold(tmp_path, one):
    """Start another process that uses ``one``; return it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "cache", one.sha256, str(one.size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "here\n"
    return holder


def test_what_another_process_uses_stays_until_it_dies(bucket, tmp_path, monkeypatch):
    theirs, mine = bucket("theirs", 320), bucket("mine", 320)
    with nearby.files([theirs]):
        pass
    bound(monkeypatch, 400)
    holder = hold(tmp_path, theirs)

    with (
        pytest.raises(InUse, match="other processes are using"),
        nearby.files([mine]),
    ):
        pass
    kept = set(cached(tmp_path))
    holder.kill()
    holder.wait()
    with nearby.files([mine]):
        after = set(cached(tmp_path))

    assert kept == {theirs.sha256}
    assert after == {mine.sha256}
    assert list((tmp_path / "cache" / "users").iterdir()) == []


def test_two_uses_in_one_process_do_not_disturb_each_other(bucket, tmp_path):
    one, two = bucket("one", 320), bucket("two", 320)

    with nearby.files([one]), nearby.files([one, two]):
        pass

    assert set(cached(tmp_path)) == {one.sha256, two.sha256}
