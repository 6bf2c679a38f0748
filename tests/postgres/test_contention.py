"""Nights that publish at the same moment, each in a process of its own."""

import contextlib
import hashlib
import signal
import time
import uuid

import pytest

from pipelines.lake import branches, lease, tables
from pipelines.lake.layout import Lake
from pipelines.stages import publish

PUBLISH = """
import os, signal, sys
from pipelines.lake import branches
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.stages import publish

root, dataset, run_id, frozen_at = sys.argv[1:]
move = branches.move

def move_or_wait(lake, draft):
    if draft.name == frozen_at:
        print("frozen", flush=True)
        sys.stdin.readline()
    return move(lake, draft)

branches.move = move_or_wait
print("ready", flush=True)
sys.stdin.readline()
result = publish.run(runs.pinned(Lake(root, dataset), run_id), [])
print("skipped" if result.skipped else "published", flush=True)
"""
NO_LEASE = """
import contextlib
from pipelines.lake import lease
lease.hold = lambda *_: contextlib.nullcontext(lease.Lease(False, lambda: None))
"""
PATIENCE_S = 240


def digest(word):
    return hashlib.sha256(word.encode()).hexdigest()


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def nights(request, catalog, nights, monkeypatch, tmp_path):
    """A lake to stage nights in: on a folder, and in a bucket."""
    if request.param == "folder":
        yield nights
        return
    with bucket(tmp_path, monkeypatch) as root:
        made = type(nights)(root)
        made.accept("space-one")
        yield made


@contextlib.contextmanager
def bucket(tmp_path, monkeypatch):
    """Yield the URL of a lake in a bucket of a server of its own."""
    s3_server = pytest.importorskip("s3_server")
    import s3fs

    with s3_server.serving(tmp_path / "s3") as s3:
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield f"{s3.make_bucket(f'b-{uuid.uuid4().hex[:12]}')}/lake"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def begin(child):
    """Return a way to start a process that publishes a run once it is told to."""

    def start(run, frozen_at="nothing"):
        lake = run.lake
        process = child(PUBLISH, lake.root, lake.dataset, run.run_id, frozen_at)
        assert process.stdout.readline() == "ready\n"
        return process

    return start


def tell(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def at_once(*processes):
    """Have all go on in the same moment; return what each said at last."""
    for one in processes:
        tell(one)
    said = [one.communicate(timeout=PATIENCE_S)[0].split() for one in processes]
    assert [one.returncode for one in processes] == [0] * len(processes)
    return [words[-1] for words in said]


def published(nights):
    """Return the digests of the feature table's rows, each as often as it is there."""
    return sorted(row["image_id"] for row in nights.rows("image_id"))


def commits(lake):
    """Return the runs that moved the feature table, the first one first."""
    found = branches.lineage(tables.load(lake, "features"))
    ids = [tables.properties_of(one).get("latentlake.run_id") for one in found]
    return [one for one in reversed(ids) if one]


def test_two_datasets_publish_at_the_same_time(nights, begin):
    other = type(nights)(nights.lake.root)
    other.lake = Lake(nights.lake.root, "birds")
    other.accept("space-two")
    runs = [
        nights.night("2026-01-01", {"/src/a": "cat", "/src/b": "dog"}),
        other.night("2026-01-01", {"/src/a": "hen", "/src/b": "owl", "/src/c": "emu"}),
    ]

    # While one holds the lease of its dataset, the other is not kept waiting.
    held = begin(runs[0], frozen_at="features")
    tell(held)
    assert held.stdout.readline() == "frozen\n"
    assert at_once(begin(runs[1])) == ["published"]
    assert at_once(held) == ["published"]

    assert published(nights) == sorted(map(digest, ["cat", "dog"]))
    assert published(other) == sorted(map(digest, ["hen", "owl", "emu"]))


def test_two_runs_of_a_dataset_that_contend_lose_no_row(nights, begin):
    one, two = nights.begin("2026-01-01", 1), nights.begin("2026-01-01", 2)
    nights.ingest(one, {"/src/a": "cat", "/src/b": "dog"})
    nights.ingest(two, {"/other/a": "cat", "/other/c": "cow"})
    nights.encode(one)

    said = at_once(begin(one), begin(two))

    assert said == ["published", "published"]
    assert published(nights) == sorted(map(digest, ["cat", "dog", "cow"]))
    assert sorted(nights.statuses().values()).count("duplicate") == 1
    assert sorted(commits(nights.lake)) == [one.run_id, two.run_id]


def test_one_run_that_is_published_twice_at_once_is_published_once(nights, begin):
    run = nights.night("2026-01-01", {"/src/a": "cat", "/src/b": "dog"})

    said = at_once(begin(run), begin(run))

    assert sorted(said) == ["published", "skipped"]
    assert published(nights) == sorted(map(digest, ["cat", "dog"]))
    assert commits(nights.lake) == [run.run_id]


@pytest.mark.slow
@pytest.mark.parametrize("table", tables.NAMES)
def test_a_publisher_killed_while_it_holds_the_lease_stops_nobody(nights, begin, table):
    one, two = nights.begin("2026-01-01", 1), nights.begin("2026-01-02", 2)
    nights.ingest(one, {"/src/a": "cat"})
    nights.ingest(two, {"/src/b": "dog"})
    nights.encode(one)
    killed = begin(one, frozen_at=table)
    waiting = begin(two)
    tell(killed)
    assert killed.stdout.readline() == "frozen\n"
    tell(waiting)

    killed.send_signal(signal.SIGKILL)
    began = time.monotonic()
    said, _ = waiting.communicate(timeout=PATIENCE_S)

    assert said == "published\n"
    assert time.monotonic() - began < lease.WAIT_S / 2
    publish.run(one, [])
    assert published(nights) == sorted(map(digest, ["cat", "dog"]))
    for name in tables.NAMES:
        assert set(tables.load(nights.lake, name).metadata.refs) == {"main"}


@pytest.mark.slow
def test_eight_runs_of_two_datasets_contend_and_every_row_is_there_once(nights, begin):
    other = type(nights)(nights.lake.root)
    other.lake = Lake(nights.lake.root, "birds")
    other.accept("space-two")
    waiting, words = [], {nights: [], other: []}
    for made in (nights, other):
        for number in range(1, 5):
            run = made.begin("2026-01-01", number)
            mine = [f"word {number}.{n}" for n in range(5)] + ["the same"]
            uris = {f"/{number}/{n}": word for n, word in enumerate(mine)}
            made.ingest(run, uris)
            made.encode(run)
            words[made] += mine
            waiting.append(begin(run))

    assert at_once(*waiting) == ["published"] * 8

    for made in (nights, other):
        assert published(made) == sorted(map(digest, set(words[made])))
        assert len(commits(made.lake)) == 4


@pytest.mark.slow
def test_without_any_lock_two_runs_still_lose_no_row(nights, child):
    one, two = nights.begin("2026-01-01", 1), nights.begin("2026-01-01", 2)
    nights.ingest(one, {"/src/a": "cat"})
    nights.ingest(two, {"/src/b": "dog"})
    nights.encode(one)
    lake = nights.lake
    both = [
        child(NO_LEASE + PUBLISH, lake.root, lake.dataset, run.run_id, "nothing")
        for run in (one, two)
    ]

    assert at_once(*both) == ["published", "published"]

    assert published(nights) == sorted(map(digest, ["cat", "dog"]))
    assert sorted(commits(lake)) == [one.run_id, two.run_id]
