"""The ingest stage, from a source to the staged inventory."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines import config
from pipelines.errors import ArtifactMismatch, BadNight
from pipelines.lake import inventory, shards, store, tables
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.records import Chunk
from pipelines.stages import ingest


def png(seed: int, side: int = 20) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def flat(value: int) -> bytes:
    return cv2.imencode(".png", np.full((12, 12, 3), value, np.uint8))[1].tobytes()


def write(folder: pathlib.Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    write(folder, {f"{'ab'[n % 2]}/{n:03}.png": png(n) for n in range(40)})
    return folder


def new_run(tmp_path, source, run_id="2026-01-01-1", **sections) -> Run:
    settings = config.parse(
        {
            "source": {"path": str(source)},
            "image": {"height": 16, "width": 16},
            "encoder": {"preset": "conv", "widths": [8, 8]},
            "engine": {"chunk_size": 16, "workers": 1},
            **sections,
        },
        origin="test",
    )
    lake = Lake(str(tmp_path / "lake"), "birds")
    tables.ensure(lake)
    base = tables.main_ids(lake)
    return Run(
        lake,
        run_id,
        run_id[:10],
        settings,
        images_base=base.images,
        features_base=base.features,
    )


def publish(run: Run) -> None:
    """Put the staged inventory on the image table's main, as publish does."""
    table = tables.load(run.lake, "images")
    properties = {"latentlake.image_spec_id": run.image_spec_id}
    rows = tables.plain(inventory.staged(run), "images", tables.IMAGES_SCHEMA.names)
    uris = rows["source_uri"].to_pylist()
    before = tables.read_images(run.lake, run.images_base).to_pylist()
    kept = [row for row in before if row["source_uri"] not in uris]
    whole = [*kept, *rows.to_pylist()]
    numbered = tables.numbered(tables.IMAGES_SCHEMA)
    table.overwrite(
        type(rows).from_pylist(whole, schema=numbered), snapshot_properties=properties
    )


def made(folder: pathlib.Path) -> dict[str, bytes]:
    """Return the shards and inventories below ``folder``; those aside do not count."""
    found = content(folder / "lake" / "birds" / "shards")
    return {name: data for name, data in found.items() if "/." not in name}


def content(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_entry_becomes_a_row_and_counts_add_up(tmp_path, source):
    write(source, {"a/cut.png": png(1)[:200], "a/none.png": b"", "b/same.png": png(3)})
    run = new_run(tmp_path, source)

    result = ingest.run(run, [])

    counts = result.counts
    assert counts["listed"] == counts["new"] + counts["known"] + counts["changed"] == 43
    assert counts["accepted"] == 40
    assert counts["duplicate"] == 1
    assert counts["rejected"] == 2
    assert sum(result.figures["rejections"].values()) == 2
    assert inventory.staged(run).num_rows == 43


def test_images_are_found_where_the_inventory_says(tmp_path, source):
    run = new_run(tmp_path, source)

    ingest.run(run, [])

    for row in inventory.corpus(run).to_pylist():
        shard = shards.read_shard(run.lake.shard_file(row["shard"]))
        assert shard.image_ids[row["row"]] == row["image_id"]
        assert shard.labels[row["row"]] == row["label"]


def test_a_second_run_of_the_stage_changes_no_shard(tmp_path, source):
    run = new_run(tmp_path, source)
    first = ingest.run(run, [])
    before = content(tmp_path / "lake" / "birds" / "shards")

    second = ingest.run(run, [])

    assert content(tmp_path / "lake" / "birds" / "shards") == before
    assert first.counts["skipped"] == 0
    assert second.counts == first.counts | {"skipped": 3}
    assert second.counts["chunks"] == 3


def test_a_chunk_that_is_done_is_not_written_again(tmp_path, source):
    run = new_run(tmp_path, source)
    ingest.run(run, [])
    folder = tmp_path / "lake" / "birds" / "shards" / run.image_spec_id / run.night
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    lost = min(folder.glob("*.parquet"))
    lost.unlink()

    ingest.run(run, [])

    again = {path for path, when in times.items() if path.stat().st_mtime_ns != when}
    assert again == {lost, lost.with_suffix(".tfrecord")}


def test_a_retry_works_on_the_same_listing(tmp_path, source):
    run = new_run(tmp_path, source)
    first = ingest.run(run, [])
    write(source, {"a/late.png": png(99)})

    second = ingest.run(run, [])

    assert second.counts == first.counts | {"skipped": first.counts["chunks"]}


def test_a_night_with_nothing_new_is_skipped_without_beam(tmp_path, source):
    run = new_run(tmp_path, source)
    ingest.run(run, [])
    publish(run)
    night = new_run(tmp_path, source, "2026-01-02-1")

    result = ingest.run(night, [])

    assert result.skipped
    assert result.counts["known"] == 40
    assert not store.exists(night.path("due.arrow"))


def test_only_what_is_new_or_changed_is_decoded(tmp_path, source):
    run = new_run(tmp_path, source)
    ingest.run(run, [])
    publish(run)
    write(source, {"a/new.png": png(77), "a/000.png": png(78), "b/copy.png": png(5)})
    (source / "b" / "001.png").unlink()
    night = new_run(tmp_path, source, "2026-01-02-1")

    counts = ingest.run(night, []).counts

    assert (counts["new"], counts["changed"], counts["gone"]) == (2, 1, 1)
    assert (counts["accepted"], counts["duplicate"]) == (2, 1)
    found = store.names(night.lake.shards(night.image_spec_id, night.night))
    (name,) = [one for one in found if one.endswith(".tfrecord")]
    shard = night.lake.shards(night.image_spec_id, night.night) + "/" + name
    assert len(shards.read_shard(shard).image_ids) == 2


def test_entries_that_are_gone_are_staged_without_beam(tmp_path, source):
    run = new_run(tmp_path, source)
    ingest.run(run, [])
    publish(run)
    (source / "a" / "000.png").unlink()
    night = new_run(tmp_path, source, "2026-01-02-1")

    result = ingest.run(night, [])

    assert not result.skipped
    assert inventory.staged(night)["status"].to_pylist() == ["gone"]


def test_inventories_of_a_bucket_are_gathered_in_order_and_none_may_lack_rows(tmp_path):
    chunks, files = [], []
    for number in range(40):
        uris = [f"/{number}/{one}" for one in range(number % 3 + 1)]
        rows = [{"source_uri": uri, "outcome": "known"} for uri in uris]
        table = pa.Table.from_pylist(rows, shards.INVENTORY_SCHEMA)
        files.append(f"memory://{tmp_path.name}/{number}.parquet")
        chunks.append(Chunk(str(number), "due.arrow", 0, len(rows)))
        shards.write_inventory(files[-1], shards.Inventory(table, 0, 0))

    found = ingest._gathered(chunks, files)

    first = [one.rows["source_uri"][0].as_py() for one in found]
    assert first == [f"/{number}/0" for number in range(40)]
    chunks[7] = chunks[7]._replace(stop=9)
    with pytest.raises(ArtifactMismatch, match=r"/7.parquet: has 2 rows for 9 entries"):
        ingest._gathered(chunks, files)
    store.delete(f"memory://{tmp_path.name}")


def test_a_dry_run_decodes_nothing(tmp_path, source):
    run = dataclasses.replace(new_run(tmp_path, source), dry_run=True)

    result = ingest.run(run, [])

    assert result.skipped
    assert "40 new" in result.note
    assert not (tmp_path / "lake" / "birds" / "shards").exists()


def test_too_many_rejections_stop_the_night_by_name(tmp_path, source):
    write(source, {f"a/bad{n}.png": png(n)[:100] for n in range(25)})
    run = new_run(tmp_path, source)

    with pytest.raises(BadNight, match=r"25 of 65.*limit tonight is 20.*bad") as error:
        ingest.run(run, [])

    assert "truncated" in str(error.value) or "corrupt" in str(error.value)
    assert inventory.staged(run) is None


def test_a_night_of_black_images_is_a_bad_one(tmp_path):
    folder = tmp_path / "source"
    write(folder, {f"{n}.png": flat(n) for n in range(30)})
    run = new_run(tmp_path, folder)

    with pytest.raises(BadNight, match="30 of 30 new images are of one single colour"):
        ingest.run(run, [])


def test_a_file_larger_than_the_limit_is_not_read(tmp_path, source):
    run = new_run(
        tmp_path, source, image={"height": 16, "width": 16, "max_bytes": 2000}
    )
    write(source, {"a/huge.png": png(1) + b"\0" * 2000})

    result = ingest.run(run, [])

    assert result.figures["rejections"] == {"too_many_bytes": 1}


def test_two_threads_make_the_same_shards_as_one(tmp_path, source):
    one = new_run(tmp_path / "one", source)
    two = new_run(tmp_path / "two", source, engine={"chunk_size": 16, "workers": 2})

    ingest.run(one, [])
    ingest.run(two, [])

    shards_of = "lake/birds/shards"
    assert content(tmp_path / "one" / shards_of) == content(
        tmp_path / "two" / shards_of
    )


@pytest.mark.slow
def test_the_portable_runner_makes_the_same_shards(tmp_path, source):
    one = new_run(tmp_path / "one", source)
    two = new_run(tmp_path / "two", source)
    ingest.run(one, [])

    flags = ["--runner=PortableRunner", "--job_endpoint=embed"]
    ingest.run(two, [*flags, "--environment_type=LOOPBACK"])

    shards_of = "lake/birds/shards"
    assert content(tmp_path / "one" / shards_of) == content(
        tmp_path / "two" / shards_of
    )


@pytest.mark.slow
def test_every_nasty_file_is_accepted_or_rejected(tmp_path, shared_data):
    run = new_run(
        tmp_path,
        shared_data / "nasty",
        limits={"max_rejected_fraction": 1.0, "max_blank_fraction": 1.0},
    )

    result = ingest.run(run, [])

    counts = result.counts
    files = sum(path.is_file() for path in (shared_data / "nasty").rglob("*"))
    assert counts["listed"] == inventory.staged(run).num_rows
    assert counts["listed"] >= files - 1  # the manifest may be no entry
    assert (
        counts["new"] == counts["accepted"] + counts["duplicate"] + counts["rejected"]
    )
    assert counts["accepted"] > 50


KILLED = """
import sys, time
from pipelines.engine import screening
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.stages import ingest
whole = screening.screen_chunk
def slowly(*args):
    tally = whole(*args)
    print("chunk", flush=True)
    time.sleep(60)
    return tally
screening.screen_chunk = slowly
ingest.run(runs.pinned(Lake(sys.argv[1], "birds"), "2026-01-01-1"), [])
"""


@pytest.mark.slow
def test_a_killed_ingest_goes_on_to_the_same_files(tmp_path, source):
    from pipelines.lake import run as runs

    whole = new_run(tmp_path / "whole", source)
    ingest.run(whole, [])
    cut = new_run(tmp_path / "cut", source)
    runs.pin(cut)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, cut.lake.root],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(ingest.__file__).parents[2])},
    )
    assert process.stdout.readline() == b"chunk\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert inventory.staged(cut) is None

    again = ingest.run(cut, [])

    assert 0 < again.counts["skipped"] < again.counts["chunks"]
    assert made(tmp_path / "cut") == made(tmp_path / "whole")
    assert inventory.staged(cut).equals(inventory.staged(whole))
