"""The encode stage: a file of latents for each shard that lacks them."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from models import artifact
from models.transform import digests
from pipelines.engine import encoding, parts
from pipelines.engine.encoding import EncodePlan
from pipelines.errors import ArtifactMismatch, GateRefused
from pipelines.lake import pointer, shards, store, tables
from pipelines.stages import encode

SIDE, LATENT = 16, 6


def write_transform(run) -> str:
    """Write the folder of a transform per channel, by hand."""
    folder = pathlib.Path(run.lake.transform("t" * 16))
    folder.mkdir(parents=True, exist_ok=True)
    values = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
    table = np.repeat((values - np.float32(0.5)) / np.float32(0.25), 3, axis=1)
    np.save(folder / "lookup.npy", table)
    card = {
        "format_version": 1,
        "transform_id": "t" * 16,
        "image_spec_id": run.image_spec_id,
        **{"height": SIDE, "width": SIDE, "channels": 3},
        "normalise": "per_channel",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    files = {"lookup.npy": digests(str(folder))["lookup.npy"]}
    store.write_json(str(folder / "transform.json"), card | {"files": files})
    return str(folder)


def accept(run, seed: int = 0) -> str:
    """Accept an untrained encoder; return its space."""
    keras.utils.set_random_seed(seed)
    images, latents = keras.Input((SIDE, SIDE, 3)), keras.Input((LATENT,))
    found = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(images)
    found = keras.layers.Dense(LATENT)(keras.layers.Flatten()(found))
    painted = keras.layers.Dense(SIDE * SIDE * 3)(latents)
    painted = keras.layers.Reshape((SIDE, SIDE, 3))(painted)
    halves = keras.Model(images, found), keras.Model(latents, painted)
    folder = run.lake.encoder(f"seed{seed}")
    card = artifact.save(folder, *halves, write_transform(run), {"health": {}})
    space_id = card["space_id"]
    os.rename(folder, run.lake.encoder(space_id))
    pointer.accept(run.lake, space_id, run)
    return space_id


@pytest.fixture
def run(staged):
    """Return a run of two nights, three shards and fifty images."""
    made = staged.run("2026-01-02-1")
    return staged.ingest(made, {"2026-01-01": [20, 10], "2026-01-02": [20]})


def test_every_image_of_every_shard_gets_its_latent(run):
    space_id = accept(run)

    result = encode.run(run, [])

    encoder = artifact.load(run.lake.encoder(space_id))
    for part in parts.parts_of(parts.corpus(run)[1]):
        shard = shards.read_shard(run.lake.shard_file(part.shard))
        found = parquet.read_table(run.lake.latents(space_id, f"{part.stem}.parquet"))
        latents, painted = encoder.encode_and_reconstruct(shard.pixels)
        errors = ((shard.pixels / 255.0 - painted) ** 2).mean(axis=(1, 2, 3))
        assert found["image_id"].to_pylist() == shard.image_ids
        assert found["row"].to_pylist() == list(range(len(shard.image_ids)))
        assert np.array_equal(np.stack(found["latent"].to_numpy()), latents)
        assert np.allclose(found["reconstruction_error"], errors, rtol=1e-4)
    assert result.counts == {"shards": 3, "images": 50, "skipped": 0}
    assert result.wrote == {"space_id": space_id}


def test_a_second_run_of_the_stage_is_skipped_and_changes_nothing(run, content):
    space_id = accept(run)
    encode.run(run, [])
    before = content(run.lake.latents(space_id))

    result = encode.run(run, [])

    assert result.skipped
    assert result.counts["skipped"] == 3
    assert content(run.lake.latents(space_id)) == before


def test_only_shards_without_latents_are_encoded(run):
    space_id = accept(run)
    encode.run(run, [])
    folder = pathlib.Path(run.lake.latents(space_id))
    lost = min(folder.iterdir())
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    data = lost.read_bytes()
    lost.unlink()

    result = encode.run(run, [])

    assert result.counts["skipped"] == 2
    assert lost.read_bytes() == data
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path for path in after if after[path] != before[path]} == {lost}


def publish(run, space_id, stems):
    """Put the latents of some shards on the feature table's main."""
    rows = []
    for stem in stems:
        path = run.lake.latents(space_id, f"{stem}.parquet")
        for row in parquet.read_table(path).to_pylist():
            row.pop("row")
            words = {"source_uri": row["image_id"], "split": "train"}
            words |= {"night": run.date, "width": 9, "height": 9, "label": None}
            rows.append(row | words | {"space_id": space_id, "run_id": run.run_id})
    schema = tables.numbered(tables.FEATURES_SCHEMA)
    tables.load(run.lake, "features").append(pa.Table.from_pylist(rows, schema=schema))
    main = tables.main_ids(run.lake)
    return dataclasses.replace(run, features_base=main.features)


def test_images_with_a_published_latent_are_left_alone(run):
    space_id = accept(run)
    encode.run(run, [])
    stems = [part.stem for part in parts.parts_of(parts.corpus(run)[1])]
    later = publish(run, space_id, stems[:2])
    store.delete(run.lake.latents(space_id))

    result = encode.run(later, [])

    assert result.counts["shards"] == 1
    assert store.names(run.lake.latents(space_id)) == [f"{stems[2]}.parquet"]


def test_another_space_encodes_every_shard_again(run):
    first = accept(run)
    encode.run(run, [])
    stems = [part.stem for part in parts.parts_of(parts.corpus(run)[1])]
    later = publish(run, first, stems)
    second = accept(run, seed=1)

    result = encode.run(later, [])

    assert second != first
    assert result.counts["shards"] == 3
    assert len(store.names(run.lake.latents(second))) == 3


def test_a_night_without_new_images_is_skipped(run):
    space_id = accept(run)
    encode.run(run, [])
    stems = [part.stem for part in parts.parts_of(parts.corpus(run)[1])]

    result = encode.run(publish(run, space_id, stems), [])

    assert result.skipped
    assert result.note == "no image lacks a latent"


def test_two_threads_make_the_same_files(staged, run, content):
    space_id = accept(run)
    encode.run(run, [])
    folder = run.lake.latents(space_id)
    before = content(folder)
    store.delete(folder)
    settings = run.settings.model_copy(
        update={"engine": run.settings.engine.model_copy(update={"workers": 2})}
    )

    encode.run(dataclasses.replace(run, settings=settings), [])

    assert content(folder) == before


def test_without_an_accepted_encoder_nothing_is_encoded(run):
    with pytest.raises(GateRefused, match="no encoder was ever accepted"):
        encode.run(run, [])


def test_a_missing_encoder_is_named(run):
    space_id = accept(run)
    store.delete(run.lake.encoder(space_id))

    with pytest.raises(ArtifactMismatch, match=r"card\.json: is missing"):
        encode.run(run, [])


def test_an_altered_encoder_is_refused_before_any_work(run):
    space_id = accept(run)
    with open(run.lake.encoder(space_id, "encoder.keras"), "ab") as file:
        file.write(b"\0")
    encoding._LOADED.clear()

    with pytest.raises(ArtifactMismatch, match=r"encoder\.keras"):
        encode.run(run, [])

    assert store.names(run.lake.latents(space_id)) == []


def test_an_encoder_for_other_images_is_refused(run):
    space_id = accept(run)
    plan = EncodePlan(run.lake, space_id, "another")

    with pytest.raises(ArtifactMismatch, match="images of spec another"):
        encoding.load(plan)


def test_a_dry_run_encodes_nothing(run):
    space_id = accept(run)

    result = encode.run(dataclasses.replace(run, dry_run=True), [])

    assert result.skipped
    assert "3 shards would be encoded" in result.note
    assert store.names(run.lake.latents(space_id)) == []


KILLED = """
import sys, time
from pipelines.engine import encoding
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.stages import encode
whole = encoding.encode_shard
def slowly(*args):
    tally = whole(*args)
    print("shard", flush=True)
    time.sleep(60)
    return tally
encoding.encode_shard = slowly
encode.run(runs.pinned(Lake(sys.argv[1], "birds"), sys.argv[2]), [])
"""


@pytest.mark.slow
def test_a_killed_encode_goes_on_to_the_same_files(run, content):
    space_id = accept(run)
    encode.run(run, [])
    folder = run.lake.latents(space_id)
    whole = content(folder)
    store.delete(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, run.lake.root, run.run_id],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(encode.__file__).parents[2])},
    )
    assert process.stdout.readline() == b"shard\n"
    process.send_signal(signal.SIGKILL)
    process.wait()

    result = encode.run(run, [])

    assert result.counts["skipped"] == 1
    assert content(folder) == whole
