"""Measure training on whatever this host has: a GPU with JAX, or its CPU.

It needs no more than the trainer's image (deploy/docker/trainer.in). The limit is the
same model stepped over arrays in memory, by the clock, the bare epochs between ours;
the first of each compiles and is left out. A second training is killed in mid-epoch
(SIGKILL) and taken up again: how far are its losses from those of one undisturbed?
"""

import argparse
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from models import device

WHY = device.choose().why
device.choose_backend()

import keras  # noqa: E402 - the backend is chosen
import numpy as np  # noqa: E402

from models import tfrecord  # noqa: E402
from models.autoencoder import Autoencoder  # noqa: E402
from models.data import Examples  # noqa: E402
from models.fit import fit  # noqa: E402
from models.presets import conv  # noqa: E402
from models.section import TrainSettings  # noqa: E402
from models.settings import ConvSettings  # noqa: E402
from models.spec import ImageShape  # noqa: E402
from models.task import Data, Silent, Task  # noqa: E402

SHARD = 1024


class Turns:
    """Times each epoch of ours, and a bare one after it.

    Attributes:
        ours: Seconds of each epoch of ours, judging and checkpoint left out.
        bare: Seconds of each bare epoch.
    """

    def __init__(self, images: np.ndarray, settings: TrainSettings) -> None:
        self._images, self._settings = images, settings
        self._model = bare_model(images.shape[1:], settings)
        self._start, self._steps = 0.0, 0
        self.ours: list[float] = []
        self.bare: list[float] = []

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Time a bare epoch, then begin to time ours."""
        begin, size = time.perf_counter(), self._settings.batch_size
        for start in range(0, len(self._images), size):
            batch = self._images[start : start + size]
            self._model.train_on_batch(batch)
        self.bare.append(time.perf_counter() - begin)
        self._start, self._steps = time.perf_counter(), steps

    def step_done(self, step: int, loss: float) -> None:
        """Stop the clock after the last step."""
        if step == self._steps:
            self.ours.append(time.perf_counter() - self._start)

    def epoch_done(self, record: dict[str, float]) -> None:
        """Nothing is done here."""


class Killed:
    """Kills this process in the middle of an epoch, as nobody can prevent."""

    def __init__(self, epoch: int) -> None:
        self._at, self._now, self._half = epoch, 0, 0

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Note which epoch it is."""
        self._now, self._half = epoch, steps // 2

    def step_done(self, step: int, loss: float) -> None:
        """End here, if it is time."""
        if self._now == self._at and step == self._half:
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch_done(self, record: dict[str, float]) -> None:
        """Nothing is done here."""


def main() -> None:
    """Print the figures as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--killed", help=argparse.SUPPRESS)
    given = parser.parse_args()
    shape = ImageShape(given.side, given.side, 3)
    settings = TrainSettings(epochs=given.epochs, batch_size=given.batch)
    if given.killed:
        take(given.killed, shape, settings, Killed(2))
        return
    with tempfile.TemporaryDirectory(prefix="latentlake-gpu-") as folder:
        images = made(given.images, shape)
        write(pathlib.Path(folder), images)
        turns = Turns(images, settings)
        straight = take(folder, shape, settings, turns, "straight")
        say_rates(f"{given.side} px, batches of {given.batch}", len(images), turns)
        read(folder, shape)
        killed = [sys.executable, __file__, *sys.argv[1:], "--killed", folder]
        assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
        say_resumed(straight, take(folder, shape, settings, None))
    say_memory()


def take(
    folder: str,
    shape: ImageShape,
    settings: TrainSettings,
    listener: Turns | Killed | None,
    name: str = "killed",
) -> list[dict[str, float]]:
    """Train on the files in ``folder``; return the history."""
    paths = sorted(str(path) for path in pathlib.Path(folder).glob("*.tfrecord"))
    examples = Examples(paths, shape), Examples([], shape)
    task = Task(
        encoder=ConvSettings(),
        train=settings,
        data=Data(*examples),
        folder=f"{folder}/{name}",
        progress=listener or Silent(),
    )
    return fit(task).trained.history


def bare_model(shape: tuple[int, ...], settings: TrainSettings) -> keras.Model:
    """Return the model that is fitted, compiled in the same way."""
    parts = conv.build(ImageShape(*shape), ConvSettings())
    model = Autoencoder(parts.coder, parts.painter)
    compiled = device.jit_compile()
    model.compile(keras.optimizers.Adam(settings.learning_rate), jit_compile=compiled)
    return model


def made(count: int, shape: ImageShape) -> np.ndarray:
    """Return smooth random images, normalised: nothing need be at hand for them."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(count, 4, 4, shape.channels))
    side = -(-shape.height // 4)
    images = coarse.repeat(side, axis=1).repeat(side, axis=2)
    cut = images[:, : shape.height, : shape.width]
    return cut.astype(np.float32)


def write(folder: pathlib.Path, images: np.ndarray) -> None:
    """Write the images as files of examples."""
    for start in range(0, len(images), SHARD):
        with (folder / f"{start:06}.tfrecord").open("wb") as file:
            payloads = (
                tfrecord.encode_example({"image": row, "image_id": b"0" * 64})
                for row in images[start : start + SHARD]
            )
            tfrecord.write_frames(file, payloads)


def say_rates(what: str, count: int, turns: Turns) -> None:
    """Print how fast training is: median epochs, those that compile left out."""
    ours, bare = statistics.median(turns.ours[1:]), statistics.median(turns.bare[1:])
    figure = {
        "name": f"train, {what}, {device.sentence()}",
        "ours": round(count / ours),
        "limit": round(count / bare),
        "ratio": round(bare / ours, 3),
        "unit": "images/s",
        "note": f"by the clock; limit: train_on_batch over arrays in memory; {WHY}",
    }
    print(json.dumps(figure, ensure_ascii=False))


def read(folder: str, shape: ImageShape) -> None:
    """Print how fast the examples alone are read."""
    paths = sorted(str(path) for path in pathlib.Path(folder).glob("*.tfrecord"))
    train = Examples(paths, shape)
    start = time.perf_counter()
    for _ in train.batches(128, train.order(0, 0)):
        pass
    rate = len(train) / (time.perf_counter() - start)
    figure = {"name": "read shuffled examples alone", "ours": round(rate)}
    print(json.dumps(figure | {"unit": "images/s"}))


def say_resumed(
    straight: list[dict[str, float]], resumed: list[dict[str, float]]
) -> None:
    """Print how far a training that was killed and taken up ends from the other."""
    pairs = zip(straight, resumed, strict=True)
    furthest = max(abs(one["loss"] / two["loss"] - 1) for one, two in pairs)
    figure = {
        "name": "loss after SIGKILL in mid-epoch, against undisturbed",
        "ours": furthest,
        "unit": "largest relative difference of an epoch",
        "target": "0 on a CPU",
    }
    print(json.dumps(figure))


def say_memory() -> None:
    """Print the peak of memory, of this process and of its GPU."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"name": "peak memory", "ours": round(peak), "unit": "MiB"}))
    if keras.backend.backend() != "jax" or not device.accelerators():
        return
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    used = round(stats.get("peak_bytes_in_use", 0) / 2**20)
    print(json.dumps({"name": "peak memory of the GPU", "ours": used, "unit": "MiB"}))


if __name__ == "__main__":
    main()
