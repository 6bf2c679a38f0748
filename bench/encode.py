"""Measure encode against a plain tf.data + predict + Parquet loop over the same shards.

The limit parses records with tf.data, normalises them, predicts with the same encoder
and decoder in batches of the same size, and writes one Parquet file of latents and
errors. Both in turn in one process on one core, in CPU time, the best of several
rounds; what a job of one small shard costs is stated apart.

    python bench/encode.py [--images 10240] [--rounds 3]
"""

# ruff: noqa: E402 - the core is pinned before TensorFlow counts them

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
sys.path.insert(0, os.path.dirname(__file__))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from transform import CHUNK, DATA, TINY, new_run

from models import artifact, readout, sums
from models.presets import conv
from models.settings import ConvSettings
from models.spec import ImageShape
from pipelines.engine import parts
from pipelines.lake import pointer, store
from pipelines.lake.run import Run
from pipelines.stages import encode, transform

SHAPE = ImageShape(32, 32, 3)


def main() -> None:
    """Print the figures as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--images", type=int, default=10 * CHUNK)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if not flags.data.is_dir():
        print(json.dumps({"name": "CIFAR-10 is not beside this checkout: skipped"}))
        return
    with tempfile.TemporaryDirectory() as root:
        tiny = new_run(f"{root}/tiny", flags.data, TINY, "per_channel")
        whole = new_run(f"{root}/whole", flags.data, flags.images, "per_channel")
        for run in (tiny, whole):
            accept(run)
        measure(tiny, whole, flags.images, flags.rounds)


def accept(run: Run) -> None:
    """Accept an encoder of preset conv with random weights."""
    transform_id = transform.run(run, []).wrote["transform_id"]
    settings = ConvSettings()
    made = conv.build(SHAPE, settings)
    rows = np.random.default_rng(0).normal(size=(2000, *SHAPE)).astype(np.float32)
    moments = sums.total([readout.Moments(made.features).terms(rows)], len(rows))
    maps = readout.solve(moments, conv.groups(settings))
    halves = conv.finish(made, settings, maps)
    folder = run.lake.encoder("made")
    card = artifact.save(folder, *halves, run.lake.transform(transform_id), {})
    os.rename(folder, run.lake.encoder(card["space_id"]))
    pointer.accept(run.lake, card["space_id"], run)


def measure(tiny: Run, whole: Run, images: int, rounds: int) -> None:
    """Print both rates, and what a small job costs."""
    best = dict.fromkeys(("start", "ours", "loop"), 1e9)
    stage(tiny)  # imports are paid before anything is measured
    plain = PlainLoop(whole)
    plain.run()
    for _ in range(rounds):
        best["start"] = min(best["start"], stage(tiny))
        best["ours"] = min(best["ours"], stage(whole))
        best["loop"] = min(best["loop"], plain.run())
    ours, limit = (
        (images - TINY) / (best["ours"] - best["start"]),
        images / best["loop"],
    )
    figure = {
        "name": "encode, CIFAR-10 from shards, preset conv",
        "ours": round(ours, 1),
        "limit": round(limit, 1),
        "ratio": round(ours / limit, 3),
        "unit": "images/CPU-s",
        "target": ">= 0.9",
    }
    print(json.dumps(figure), flush=True)
    start = {"name": "encode, start-up", "ours": round(best["start"], 2)}
    print(json.dumps(start | {"unit": "CPU-s"}), flush=True)


def stage(run: Run) -> float:
    """Return the CPU seconds of the stage; what it made before is taken away first."""
    accepted = pointer.read(run.lake)
    assert accepted is not None
    store.delete(run.lake.latents(accepted.space_id))
    start = time.process_time()
    assert not encode.run(run, []).skipped
    return time.process_time() - start


class PlainLoop:
    """tf.data, predict and Parquet, as one would write them by hand."""

    def __init__(self, run: Run) -> None:
        accepted = pointer.read(run.lake)
        assert accepted is not None
        folder = run.lake.encoder(accepted.space_id)
        self._encoder, self._decoder = (
            artifact._load_model(f"{folder}/{name}")
            for name in (artifact.ENCODER, artifact.DECODER)
        )
        card = json.loads(pathlib.Path(folder, "transform/transform.json").read_bytes())
        self._mean = np.array(card["mean"], np.float32)
        self._std = np.array(card["std"], np.float32)
        rows = parts.corpus(run)[1]
        self._files = [run.lake.shard_file(part.shard) for part in parts.parts_of(rows)]
        self._out = run.path("plain.parquet")

    def run(self) -> float:
        """Return the CPU seconds of one pass over the shards."""
        start = time.process_time()
        ids, latents, errors = [], [], []
        data = tf.data.TFRecordDataset(self._files).batch(artifact.BATCH_SIZE)
        for names, pixels in data.map(self._parse).prefetch(2):
            values = (pixels - self._mean) / self._std
            found = self._encoder.predict_on_batch(values)
            painted = self._decoder.predict_on_batch(found) * self._std + self._mean
            gap = np.clip(painted, 0, 1) - pixels.numpy()
            ids += names.numpy().tolist()
            latents.append(found)
            errors.append(np.square(gap).mean(axis=(1, 2, 3)))
        columns = {
            "image_id": ids,
            "latent": list(np.concatenate(latents)),
            "reconstruction_error": np.concatenate(errors),
        }
        pq.write_table(pa.table(columns), self._out, compression="zstd")
        return time.process_time() - start

    def _parse(self, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        text = tf.io.FixedLenFeature([], tf.string)
        found = tf.io.parse_example(records, {"image": text, "image_id": text})
        pixels = tf.reshape(tf.io.decode_raw(found["image"], tf.uint8), [-1, *SHAPE])
        return found["image_id"], tf.cast(pixels, tf.float32) / 255.0


if __name__ == "__main__":
    main()
