"""Train preset ``resnet`` within a budget of time, and judge what it has learned.

    KERAS_BACKEND=jax python bench/gpu_quality.py --data FOLDER --minutes 10

FOLDER holds CIFAR-10 as Parquet files (``train-*.parquet``, ``test-*.parquet``; columns
``image`` or ``img``, and ``label``). Beyond the trainer's image
(deploy/docker/trainer.in) it needs pyarrow, and Pillow or OpenCV, to read them.

The budget is of training by the clock, compilation and checkpoints included: two short
epochs, which do not count, tell how many fit. FLOPs are counted from the layers (three
times the forward pass, for both views); the peak they are a share of is that of a large
product of matrices, timed on the same device.
"""

import argparse
import io
import json
import math
import os
import pathlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from models import device

WHY = device.choose().why
device.choose_backend()

import keras  # noqa: E402 - the backend is chosen
import numpy as np  # noqa: E402
from quality import flops, probes  # noqa: E402

from models import metrics  # noqa: E402
from models.data import Batch, Examples  # noqa: E402
from models.fit import fit  # noqa: E402
from models.presets import resnet  # noqa: E402
from models.section import TrainSettings  # noqa: E402
from models.settings import ResNetSettings  # noqa: E402
from models.spec import ImageShape  # noqa: E402
from models.task import Candidate, Data, Task  # noqa: E402

VIEWS = 2
PASSES = 3
"""Forward, and backward to inputs and to weights."""
TRIED = 0.05
"""Share of an epoch that tells how many epochs fit."""
BATCH = 500
"""Images that are encoded at once."""
HELD_OUT = 10
"""Every one of so many training images chooses the probe's penalty."""


class InMemory(Examples):
    """Examples that lie in an array: what reads files is measured elsewhere."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__([], ImageShape(*images.shape[1:]))
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, rows: np.ndarray) -> Batch:
        """Return the images of these numbers."""
        return Batch(self._images[rows], [""] * len(rows), [None] * len(rows))


class Clock:
    """Times each epoch.

    Attributes:
        seconds: Of each epoch's steps.
        kept: Seconds that what follows them took: a checkpoint.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.kept: list[float] = []
        self._start = self._last = time.perf_counter()
        self._steps = 0

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Start the clock."""
        self._start, self._steps = time.perf_counter(), steps

    def step_done(self, step: int, loss: float) -> None:
        """Stop the clock after the last step."""
        if step == self._steps:
            self.seconds.append(time.perf_counter() - self._start)

    def epoch_done(self, record: dict[str, float]) -> None:
        """Say how far it is, now and then."""
        now = time.perf_counter()
        self.kept.append(now - self._start - self.seconds[-1])
        if now - self._last > 30:
            self._last = now
            say(name=f"epoch {record['epoch']:.0f}", loss=round(record["loss"], 3))


def main() -> None:
    """Print the figures as JSON, one a line."""
    given = arguments()
    train, labels = load(given.data, "train", given.images)
    test, test_labels = load(given.data, "test", given.images)
    mean, std = (  # in float32, NumPy's sums over so many pixels come to a standstill
        one((0, 1, 2), dtype=np.float64).astype(np.float32)
        for one in (train.mean, train.std)
    )
    train, test = ((one - mean) / std for one in (train, test))
    say(name="device", ours=device.sentence(), note=WHY)
    settings = ResNetSettings(
        latent_dim=given.latent_dim,
        width=given.width,
        projector=tuple(given.projector),
        precision=given.precision,
    )
    peaks = {kind: flops.peak(given.matrix, kind) for kind in ("bfloat16", "float32")}
    for kind, found in peaks.items():
        name = f"matrix peak, {kind}, {given.matrix} a side"
        say(name=name, ours=round(found / 1e12, 3), unit="TFLOP/s")
    with tempfile.TemporaryDirectory(prefix="latentlake-gpu-") as folder:
        found, clock = trained(settings, given, train, folder)
    computes = device.precision(settings.precision).removeprefix("mixed_")
    say_step(settings, train, clock, computes, peaks)
    say_quality(found, (train, labels), (test, test_labels), std, peaks)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument("--images", type=int, default=0, help="of a split; 0: all")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, help="by default 0.3 × batch / 256")
    parser.add_argument("--projector", type=int, nargs="+", default=[2048] * 3)
    parser.add_argument("--latent-dim", type=int, default=512)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the products")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def trained(
    settings: ResNetSettings,
    given: argparse.Namespace,
    images: np.ndarray,
    folder: str,
) -> tuple[Candidate, Clock]:
    """Return what is learned within the budget, and how long its epochs took."""
    images = images[: len(images) - len(images) % given.batch]  # one compilation
    count = max(2, round(TRIED * len(images) / given.batch)) * given.batch
    trial = Clock()
    begin = time.perf_counter()
    run(settings, given, images[:count], f"{folder}/trial", trial, epochs=2)
    compiled, epoch = trial.seconds[0] - trial.seconds[1], trial.seconds[1]
    whole = epoch * len(images) / min(count, len(images)) + trial.kept[1]
    epochs = max(2, int((60 * given.minutes - compiled) / whole))
    took, note = round(time.perf_counter() - begin, 1), f"{epochs} epochs fit"
    say(name="trial", ours=took, unit="s", note=note)
    clock, begin = Clock(), time.perf_counter()
    found = run(settings, given, images, f"{folder}/whole", clock, epochs=epochs)
    name = "training, compilation, checkpoints and readout included"
    say(name=name, ours=round(time.perf_counter() - begin, 1), unit="s")
    losses = [round(one["loss"], 4) for one in found.trained.history]
    say(name="loss, first and last epoch", ours=[losses[0], losses[-1]])
    return found, clock


def run(
    settings: ResNetSettings,
    given: argparse.Namespace,
    images: np.ndarray,
    folder: str,
    clock: Clock,
    *,
    epochs: int,
) -> Candidate:
    """Return what ``epochs`` passes over ``images`` give."""
    rate = given.rate or 0.3 * given.batch / 256
    train = TrainSettings(
        epochs=epochs, batch_size=given.batch, learning_rate=rate, seed=given.seed
    )
    return fit(
        Task(
            encoder=settings,
            train=train,
            data=Data(InMemory(images), InMemory(images[:0])),
            folder=folder,
            progress=clock,
        )
    )


def say_step(
    settings: ResNetSettings,
    images: np.ndarray,
    clock: Clock,
    computes: str,
    peaks: dict[str, float],
) -> None:
    """Print how fast training steps are, and what share of the peak that is."""
    shape = ImageShape(*images.shape[1:])
    parts = resnet.build(shape, settings, "float32")
    model = resnet.TwoViews(parts.trunk, settings, "float32", 0)
    once = sum(flops.macs(one) for one in (model.trunk, model.projector, model.painter))
    work = 2 * once * VIEWS * PASSES
    rate = len(images) / float(np.median(clock.seconds[1:]))
    say(
        name=f"training steps, {computes}",
        ours=round(rate, 1),
        unit="images/s",
        note=f"{VIEWS} views each; median of {len(clock.seconds) - 1} epochs",
    )
    say(name="a training step's work", ours=round(work / 1e6, 2), unit="MFLOP/image")
    share = rate * work / peaks.get(computes, math.nan)
    name = f"training steps, share of {computes} peak"
    say(name=name, ours=round(share, 4), target="≥ 0.4 on an H200")


def say_quality(
    found: Candidate,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    std: np.ndarray,
    peaks: dict[str, float],
) -> None:
    """Print how fast images are encoded, and what their latents are worth."""
    encoded(found.encoder, train[0][:BATCH])  # compiled before the clock starts
    begin = time.perf_counter()
    known = encoded(found.encoder, train[0])
    rate = len(known) / (time.perf_counter() - begin)
    share = rate * 2 * flops.macs(found.encoder) / peaks["float32"]
    say(name="encode, float32", ours=round(rate, 1), unit="images/s")
    say(name="encode, share of float32 peak", ours=round(share, 4))
    latents = encoded(found.encoder, test[0])
    painted = encoded(found.decoder, latents)
    errors = metrics.squared_error(test[0] * std, painted * std) / 255.0**2
    held_out = np.arange(len(known)) % HELD_OUT == 0
    chosen = probes.choose(known, train[1], held_out)
    named = {
        "linear": chosen.probe.named(latents),
        "k-NN": probes.neighbours(known, train[1], latents),
    }
    for name, classes in named.items():
        right = 100 * float(np.mean(classes == test[1]))
        target = {"target": "≥ 85 in 10 minutes"} if name == "linear" else {}
        say(name=name, ours=round(right, 2), unit="%", **target)
    say(name="PSNR", ours=round(float(metrics.psnr(errors).mean()), 2), unit="dB")
    say(name="effective rank", ours=round(metrics.effective_rank(known), 1))


def encoded(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    """Return what ``model`` makes of ``rows``, in batches of one size."""
    parts = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        more = [(0, BATCH - len(batch)), *[(0, 0)] * (rows.ndim - 1)]
        found = model.predict_on_batch(np.pad(batch, more))
        parts.append(np.asarray(found)[: len(batch)])
    return np.concatenate(parts)


def load(folder: pathlib.Path, split: str, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images, float32 from 0 to 255, and their classes."""
    from pyarrow import parquet  # the only part that the trainer's image lacks

    files, blobs, names = sorted(folder.glob(f"{split}-*.parquet")), [], []
    if not files:
        raise SystemExit(f"{folder}: has no {split}-*.parquet. Give --data CIFAR-10.")
    for file in files:
        table = parquet.read_table(file)
        column = "image" if "image" in table.column_names else "img"
        blobs += table[column].to_pylist()
        names += table["label"].to_pylist()
    count = most or len(blobs)
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_decoded, blobs[:count]))
    classes = {name: place for place, name in enumerate(sorted(set(names)))}
    labels = np.array([classes[name] for name in names[:count]])
    return np.stack(images).astype(np.float32), labels


def _decoded(blob: bytes | dict[str, bytes]) -> np.ndarray:
    data = blob["bytes"] if isinstance(blob, dict) else blob
    try:
        from PIL import Image
    except ImportError:
        import cv2

        flat = np.frombuffer(data, np.uint8)
        return cv2.imdecode(flat, cv2.IMREAD_COLOR)[:, :, ::-1]
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def say(**figure: object) -> None:
    """Print one figure."""
    print(json.dumps(figure, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
