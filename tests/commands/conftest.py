"""A small lake that a night has been through, made by hand: no Beam, no training."""

import hashlib
import json
import os
import pathlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from models import tfrecord
from models.transform import sha256_of
from pipelines import config
from pipelines.lake import inventory, manifest, pointer, shards, store, tables
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.shards import INVENTORY_SCHEMA, ShardImage
from pipelines.stages import examples_list, publish
from pipelines.stages.examples_list import ExampleFile

SIDE, NUMBERS, COUNT = 12, 6, 240
MEAN, STD = 0.4, 0.3
TRANSFORM = "t" * 16
SETTINGS = {
    "source": {"path": "/stripes"},
    "image": {"height": SIDE, "width": SIDE, "channels": 1},
    "encoder": {"preset": "conv", "latent_dim": NUMBERS, "widths": [4]},
    "train": {"epochs": 2, "batch_size": 32, "min_images": 10, "learning_rate": 1e-2},
    "gate": {"allow_small": True, "min_images": 20},
    "split": {"eval_fraction": 0.3},
}


class Made(NamedTuple):
    """The lake, its run and the space of its accepted encoder."""

    lake: Lake
    run: Run
    space_id: str


def stripes() -> tuple[np.ndarray, list[str]]:
    """Return images of stripes that lie or stand, uint8, and which they do."""
    rng = np.random.default_rng(0)
    phase = rng.normal(scale=0.02, size=(COUNT, 1, 1, 1))
    ramp = np.arange(SIDE)[None, :, None, None] * 0.8
    waves = np.sin(ramp + 2 * np.pi * phase) * np.ones((1, 1, SIDE, 1))
    waves[1::2] = waves[1::2].swapaxes(1, 2)
    noise = rng.normal(scale=0.05, size=waves.shape)
    pixels = np.clip(127 + 80 * (waves + noise), 0, 255).astype(np.uint8)
    return pixels, ["lying" if at % 2 == 0 else "standing" for at in range(COUNT)]


def publish_images(run: Run, pixels: np.ndarray, labels: list[str]) -> list[str]:
    """Write the images as one shard, and put it on tonight's list; return their ids."""
    ids = [hashlib.sha256(one.tobytes()).hexdigest() for one in pixels]
    name = f"{run.image_spec_id}/{run.night}/{'5' * 16}.tfrecord"
    images = [ShardImage(*one) for one in zip(ids, pixels, labels, strict=True)]
    shards.write_shard(run.lake.shard_file(name), images)
    rows = [
        dict.fromkeys(INVENTORY_SCHEMA.names)
        | {"source_uri": f"/stripes/{row}.png", "image_id": image_id, "label": label}
        | {"outcome": "decoded", "width": SIDE, "height": SIDE, "format": "png"}
        | {"shard": name, "row": row}
        for row, (image_id, label) in enumerate(zip(ids, labels, strict=True))
    ]
    inventory.stage(run, pa.Table.from_pylist(rows, INVENTORY_SCHEMA), [])
    return ids


def write_transform(run: Run) -> str:
    """Write a transform per channel by hand; return its folder."""
    folder = pathlib.Path(run.lake.transform(TRANSFORM))
    (folder / "transform_fn").mkdir(parents=True)
    (folder / "transform_fn" / "saved_model.pb").write_bytes(b"not run here")
    table = (np.arange(256, dtype=np.float32)[:, None] / 255 - MEAN) / STD
    np.save(folder / "lookup.npy", table.astype(np.float32))
    names = ("lookup.npy", "transform_fn/saved_model.pb")
    card = {
        "format_version": 1,
        "transform_id": TRANSFORM,
        "image_spec_id": run.image_spec_id,
        **{"height": SIDE, "width": SIDE, "channels": 1},
        **{"normalise": "per_channel", "mean": [MEAN], "std": [STD]},
        "files": {name: sha256_of(str(folder / name)) for name in names},
    }
    (folder / "transform.json").write_text(json.dumps(card))
    return str(folder)


def write_examples(run: Run, pixels: np.ndarray, labels: list[str]) -> None:
    """Write the training examples that a transform leaves, and its manifest."""
    images = (pixels.astype(np.float32) / 255 - MEAN) / STD
    folder = pathlib.Path(run.lake.examples(TRANSFORM, "train"))
    folder.mkdir(parents=True)
    payloads = [
        tfrecord.encode_example(
            {"image": image, "image_id": str(at).encode(), "label": label.encode()}
        )
        for at, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    path = folder / "00000.tfrecord"
    with path.open("wb") as file:
        tfrecord.write_frames(file, payloads)
    entry = ExampleFile(
        "train/00000.tfrecord", os.path.getsize(path), sha256_of(str(path))
    )
    examples_list.write(run.path(examples_list.NAME), [entry])
    value = {"status": "done", "exit_code": 0, "wrote": {"transform_id": TRANSFORM}}
    manifest.write(run.lake, run.run_id, "transform", value)


def linear_models(pixels: np.ndarray):
    """Return whitened PCA as an encoder and a decoder."""
    import keras

    from models import readout

    flat = ((pixels.astype(np.float64) / 255 - MEAN) / STD).reshape(len(pixels), -1)
    mean = flat.mean(axis=0)
    _, values, directions = np.linalg.svd(flat - mean, full_matrices=False)
    spread = values[:NUMBERS, None] / np.sqrt(len(flat))
    forward = (directions[:NUMBERS] / spread).T
    images = keras.Input(pixels.shape[1:])
    rows = keras.layers.Flatten()(images)
    encoder = readout.affine(forward, -mean @ forward, "forward")(rows)
    latents = keras.Input((NUMBERS,))
    back = readout.affine(directions[:NUMBERS] * spread, mean, "code")(latents)
    painted = keras.layers.Reshape(pixels.shape[1:])(back)
    return keras.Model(images, encoder), keras.Model(latents, painted)


def place_encoder(run: Run, pixels: np.ndarray, transform: str) -> str:
    """Put an encoder in the lake and accept it; return its space."""
    from models import artifact

    aside = f"{run.lake.own('encoders')}/aside"
    settings = run.settings.model_dump(mode="json")
    card = {"preset": "conv", "encoder": settings["encoder"]}
    os.makedirs(os.path.dirname(aside))
    whole = artifact.save(aside, *linear_models(pixels), transform, card)
    os.rename(aside, run.lake.encoder(whole["space_id"]))
    pointer.accept(run.lake, whole["space_id"], run, eval_error=0.1)
    return str(whole["space_id"])


def write_latents(run: Run, space_id: str, ids: list[str]) -> None:
    """Stage latents as encode does; which ones they are does not matter here."""
    rng = np.random.default_rng(0)
    columns = {
        "image_id": pa.array(ids, pa.string()),
        "row": pa.array(range(len(ids)), pa.int32()),
        "latent": pa.array(
            rng.normal(size=(len(ids), NUMBERS)).tolist(), pa.list_(pa.float32())
        ),
        "reconstruction_error": pa.array([0.25] * len(ids), pa.float32()),
    }
    path = run.lake.latents(space_id, f"{run.night}-{'5' * 16}.parquet")
    with store.aside(path) as file:
        parquet.write_table(pa.table(columns), file)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a lake with images, examples, an accepted encoder and both tables."""
    lake = Lake(str(tmp_path_factory.mktemp("made") / "lake"), "stripes")
    tables.ensure(lake)
    base = tables.main_ids(lake)
    run = Run(
        lake,
        "2026-01-01-1",
        "2026-01-01",
        config.parse(SETTINGS, origin="test"),
        images_base=base.images,
        features_base=base.features,
    )
    runs.pin(run)
    pixels, labels = stripes()
    ids = publish_images(run, pixels, labels)
    space_id = place_encoder(run, pixels, write_transform(run))
    write_latents(run, space_id, ids)
    publish.run(run, [])
    write_examples(run, pixels, labels)
    return Made(lake, run, space_id)
