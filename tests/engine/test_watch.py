"""Progress, told by the files that stand."""

import logging

import pytest

from pipelines.engine import watch


@pytest.fixture
def paths(tmp_path):
    return [
        str(tmp_path / folder / f"{n}.parquet") for folder in "ab" for n in range(5)
    ]


def finish(paths):
    for path in paths:
        folder = path.rpartition("/")[0]
        watch.store.write_bytes(path, b"done")
        watch.store.write_bytes(f"{folder}/other", b"not asked for")


def test_only_files_that_were_asked_for_are_counted(paths):
    finish(paths[3:7])

    assert watch.finished(paths) == 4


def test_folders_that_are_missing_hold_nothing(paths):
    assert watch.finished(paths) == 0


def test_a_bucket_is_asked_for_a_sample_and_never_listed(monkeypatch):
    files = [f"memory://lake/shards/{n}.parquet" for n in range(4000)]
    done = set(files[::4])
    asked = []
    monkeypatch.setattr(
        watch.store, "exists", lambda path: asked.append(path) or path in done
    )
    monkeypatch.setattr(watch.store, "names", lambda folder: pytest.fail("listed"))

    found = watch.estimate(files)

    assert len(asked) == watch.SAMPLE
    assert 700 < found < 1300
    assert watch.estimate(files) == found  # of the same files
    done.clear()
    assert watch.estimate(files) == 0
    done.update(files)
    assert watch.estimate(files) == 4000


def test_a_log_gets_a_line_when_all_is_done(paths, caplog):
    caplog.set_level(logging.INFO)

    with watch.watching(paths, "chunks"):
        finish(paths)

    assert caplog.messages[-1] == "chunks: 10 of 10"


def test_a_log_gets_at_most_a_line_a_tenth(caplog):
    caplog.set_level(logging.INFO)
    tell = watch._Lines("chunks", 1000)

    for done in range(1001):
        tell(done)

    assert len(caplog.messages) == 10
    assert caplog.messages[0] == "chunks: 100 of 1000"


def test_nothing_to_watch_is_fine():
    with watch.watching([], "chunks"):
        pass
