"""One chunk, screened without Beam, and by piping a list through the transform."""

import hashlib

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.config import ImageSettings, SourceSettings
from pipelines.engine import screening
from pipelines.engine.screening import ENTRY_SCHEMA, ScreenPlan
from pipelines.lake import ranges, shards
from pipelines.lake.layout import Lake
from pipelines.records import Entry

IMAGE = ImageSettings(height=16, width=16)


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a plan and the chunk of some files."""

    def build(files: dict[str, bytes], known: list[bytes] | None = None):
        source = tmp_path / "source"
        source.mkdir()
        entries = []
        for name, data in files.items():
            (source / name).write_bytes(data)
            uri = str(source / name)
            entries.append(Entry(uri, len(data), 1, None, "l", None, uri))
        rows = [entry._asdict() for entry in entries]
        due = pa.Table.from_pylist(rows, schema=ENTRY_SCHEMA)
        path = str(tmp_path / "due.arrow")
        ranges.write(path, due)
        ids = [hashlib.sha256(data).hexdigest() for data in known or []]
        at = str(tmp_path / "known") if ids else None
        if at:
            screening.write_known(at, ids)
        settings = SourceSettings(path=str(source), kind="folder")
        lake = Lake(str(tmp_path / "lake"), "birds")
        plan = ScreenPlan(lake, "2026-01-01", settings, IMAGE, at)
        (chunk,) = screening.chunks_of(due, path, 100, "spec")
        return plan, chunk

    return build


def screened(plan, chunk):
    tally = screening.screen_chunk(chunk, plan, screening.open_bench(plan))
    path = plan.lake.shard_file(plan.shard(chunk))
    rows = shards.read_inventory(shards.inventory_file(path)).rows.to_pylist()
    return tally, {row["source_uri"].rpartition("/")[2]: row for row in rows}


def test_a_chunk_with_one_broken_image_loses_only_that_image(make):
    tally, rows = screened(*make({"a": png(1), "b": png(2)[:90], "c": png(3)}))

    assert (tally.decoded, tally.rejected, tally.skipped) == (2, 1, False)
    assert [name for name in rows if rows[name]["reason"]] == ["b"]
    assert (rows["a"]["row"], rows["c"]["row"]) == (0, 1)


def test_the_same_bytes_are_decoded_once(make):
    tally, rows = screened(*make({"a": png(1), "b": png(1)}))

    assert tally.decoded == 2
    assert rows["a"]["row"] == rows["b"]["row"] == 0


def test_known_bytes_are_not_decoded(make):
    tally, rows = screened(*make({"a": png(1), "b": png(2)}, known=[png(1)]))

    assert (tally.known, tally.decoded) == (1, 1)
    assert rows["a"]["outcome"] == "known"
    assert rows["a"]["shard"] is None
    assert rows["a"]["image_id"] == hashlib.sha256(png(1)).hexdigest()


def test_a_chunk_that_is_done_says_the_same_and_is_skipped(make):
    plan, chunk = make({"a": png(1), "b": b"?"})
    first, _ = screened(plan, chunk)

    second, _ = screened(plan, chunk)

    assert second == first._replace(skipped=True)


def test_a_file_that_has_gone_meanwhile_is_missing(make, tmp_path):
    plan, chunk = make({"a": png(1), "b": png(2)})
    (tmp_path / "source" / "b").unlink()

    _, rows = screened(plan, chunk)

    assert rows["b"]["reason"] == "missing"
    assert rows["b"]["image_id"] is None


def test_the_transform_gives_a_tally_for_each_chunk(make):
    from pipelines.engine.ingest_job import ScreenChunks

    plan, chunk = make({"a": png(1), "b": b""})

    (tally,) = [chunk] | ScreenChunks(plan)

    assert (tally.entries, tally.decoded, tally.rejected) == (2, 1, 1)


def test_a_digest_follows_from_the_entries_and_the_spec_alone(make):
    _, chunk = make({"a": png(1)})
    entries = ranges.read(chunk.due)

    again = screening.chunks_of(entries, "/elsewhere", 7, "spec")[0]
    other = screening.chunks_of(entries, chunk.due, 100, "another")[0]

    assert again.digest == chunk.digest
    assert other.digest != chunk.digest


@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\0"])
def test_digests_that_end_in_zeros_are_known_too(tmp_path, tail):
    digests = [bytes([n]) * (32 - len(tail)) + tail for n in (5, 9, 200)]
    path = str(tmp_path / "known")
    screening.write_known(path, [digest.hex() for digest in digests])

    known = screening.open_known(path)

    assert all(screening.is_known(known, digest) for digest in digests)
    assert not screening.is_known(known, b"\7" * 32)
    assert not screening.is_known(known, b"\377" * 32)


def test_chunks_of_large_images_are_smaller():
    large = ImageSettings(height=1024, width=1024)

    assert screening.chunk_entries(1024, ImageSettings()) == 1024
    assert screening.chunk_entries(1024, large) == 42


@pytest.mark.parametrize(
    ("entry", "is_over"),
    [
        (Entry("/a", bytes=10, container="/a"), False),
        (Entry("/a", bytes=11, container="/a"), True),
        (Entry("/a.tar#b", bytes=999, container="/a.tar", length=10), False),
        (Entry("/a.tar#b", bytes=999, container="/a.tar", length=11), True),
        (Entry("/a.parquet#3", bytes=999, container="/a.parquet"), False),
        (Entry("/a", container="/a"), False),
    ],
)
def test_an_entry_is_judged_by_its_own_size(entry, is_over):
    assert (screening.too_large(entry, 10) is not None) == is_over


def test_one_colour_is_blank():
    blank = np.full((4, 5, 3), (1, 2, 3), np.uint8)
    other = blank.copy()
    other[3, 4, 2] = 4

    assert screening.is_blank(blank)
    assert not screening.is_blank(other)
