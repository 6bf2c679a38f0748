"""Measure training from mapped TFRecords against a bare `train_on_batch` loop.

The limit is the same model stepped over arrays in memory, in their order, with nothing
else in the loop. Ours is `models.fit` as the stage calls it: examples read and checked
from files, shuffled, a checkpoint and a history line each epoch. CPU seconds of one
process on one core, as many steps an epoch, the bare epochs between ours.
"""

# ruff: noqa: E402 - the core is pinned before TensorFlow counts them

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import cv2
import keras
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from models import tfrecord
from models.autoencoder import Autoencoder
from models.data import Examples
from models.fit import fit
from models.presets import conv
from models.section import TrainSettings
from models.settings import ConvSettings
from models.spec import ImageShape
from models.task import Data, Task

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data" / "cifar10"
SHAPE = ImageShape(32, 32, 3)


class Turns:
    """Times each epoch of ours, and a bare one after it.

    Attributes:
        ours: CPU seconds of each epoch of ours, checkpoint and all.
        bare: CPU seconds of each bare epoch.
    """

    def __init__(self, images: np.ndarray, settings: TrainSettings) -> None:
        self._images, self._settings = images, settings
        self._model = bare_model(settings)
        self._start = 0.0
        self.ours: list[float] = []
        self.bare: list[float] = []

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Time a bare epoch; what is ours of the last epoch has just ended."""
        if epoch > 1:
            self.ours.append(time.process_time() - self._start)
        begin = time.process_time()
        size = self._settings.batch_size
        for start in range(0, len(self._images), size):
            batch = self._images[start : start + size]
            self._model.train_on_batch(batch)
        self.bare.append(time.process_time() - begin)
        self._start = time.process_time()

    def step_done(self, step: int, loss: float) -> None:
        """Nothing is done between steps."""

    def epoch_done(self, record: dict[str, float]) -> None:
        """Nothing is done here: what follows is still ours."""


def main() -> None:
    """Print the figures as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--images", type=int, default=5120)
    parser.add_argument("--epochs", type=int, default=6)
    flags = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images, what = load(flags.data, flags.images)
    settings = TrainSettings(epochs=flags.epochs)
    turns = Turns(images, settings)
    with tempfile.TemporaryDirectory(prefix="latentlake-train-") as folder:
        train = Examples(write(pathlib.Path(folder), images), SHAPE)
        fit(
            Task(
                encoder=ConvSettings(),
                train=settings,
                data=Data(train, Examples([], SHAPE)),
                folder=f"{folder}/fit",
                progress=turns,
            )
        )
        say(what, len(images), turns)
        read(train, len(images))


def bare_model(settings: TrainSettings) -> keras.Model:
    """Return the model that is fitted, compiled in the same way."""
    parts = conv.build(SHAPE, ConvSettings())
    model = Autoencoder(parts.coder, parts.painter)
    model.compile(keras.optimizers.Adam(settings.learning_rate), jit_compile=False)
    return model


def load(folder: pathlib.Path, count: int) -> tuple[np.ndarray, str]:
    """Return normalised images, and what they are."""
    files = sorted(folder.glob("train-*.parquet"))
    if not files:
        rng = np.random.default_rng(0)
        return rng.normal(size=(count, *SHAPE)).astype(np.float32), "random"
    batch = next(pq.ParquetFile(files[0]).iter_batches(count, columns=["image"]))
    pixels = [
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in batch["image"].to_pylist()
    ]
    images = np.stack(pixels).astype(np.float32)
    return (images - images.mean()) / images.std(), "CIFAR-10"


def write(folder: pathlib.Path, images: np.ndarray) -> list[str]:
    """Write the images as files of a thousand examples; return their paths."""
    paths = []
    for start in range(0, len(images), 1024):
        path = folder / f"{start:06}.tfrecord"
        rows = images[start : start + 1024]
        with path.open("wb") as file:
            payloads = (
                tfrecord.encode_example({"image": row, "image_id": b"0" * 64})
                for row in rows
            )
            tfrecord.write_frames(file, payloads)
        paths.append(str(path))
    return paths


def say(what: str, count: int, turns: Turns) -> None:
    """Print the training figure: median epochs, the first of each left out."""
    pairs = list(zip(turns.ours[1:], turns.bare[2:], strict=False))
    ours, bare = (statistics.median(one) for one in zip(*pairs, strict=True))
    figure = {
        "name": f"train, {what} 32 px, preset conv",
        "ours": round(count / ours),
        "limit": round(count / bare),
        "ratio": round(bare / ours, 3),
        "unit": "images/s",
        "target": "≥ 0.9",
        "note": "limit: train_on_batch over arrays in memory",
    }
    print(json.dumps(figure, ensure_ascii=False))


def read(train: Examples, count: int) -> None:
    """Print how fast the examples alone are read."""
    start = time.process_time()
    for _ in train.batches(128, train.order(0, 0)):
        pass
    rate = count / (time.process_time() - start)
    figure = {"name": "read shuffled examples alone", "ours": round(rate)}
    print(json.dumps(figure | {"unit": "images/s"}))


if __name__ == "__main__":
    main()
