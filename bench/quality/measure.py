"""Measure one row with one seed: fit it, judge it, time it."""

import datetime
import importlib.metadata
import json
import pathlib
import platform
from typing import Any

import numpy as np
import pyarrow as pa

from models import artifact
from quality import coders, datasets, jpeg, kept, probes, rate, speed
from quality.coders import Coder, Places
from quality.datasets import Dataset, Images
from quality.rows import Row

TIMED = 5_000
"""Test images that the encode rate is measured on, at most."""
LEARNED = 10_000
"""Training latents that health and rounding are told from, at most."""
FEW = 1024
"""Spaces with more dimensions are not decomposed for their health."""
LIBRARIES = ("keras", "tensorflow", "numpy", "scikit-learn", "scipy")


class Meter:
    """Adds up the CPU seconds of a fit over all runs that it took.

    Training tells it of each epoch, after the epoch's checkpoint is kept: what a kill
    loses is done again, and counts once.
    """

    def __init__(self, file: pathlib.Path) -> None:
        self._file = file
        self._earlier = json.loads(file.read_text()) if file.exists() else 0.0
        self._start = speed.cpu_seconds()

    @property
    def seconds(self) -> float:
        """CPU seconds so far."""
        return float(self._earlier + speed.cpu_seconds() - self._start)

    def keep(self) -> None:
        """Write down how many there were so far."""
        aside = self._file.with_suffix(".aside")
        aside.write_text(json.dumps(self.seconds))
        aside.replace(self._file)

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Nothing is written down before an epoch."""

    def step_done(self, step: int, loss: float) -> None:
        """Nothing is written down between steps."""

    def epoch_done(self, record: dict[str, float]) -> None:
        """Keep the time, and say how far training is."""
        self.keep()
        said = [f"{name} {value:.4g}" for name, value in record.items()]
        print(f"   {', '.join(said)}", flush=True)


def measure(
    row: Row, dataset: Dataset, seed: int, work: pathlib.Path
) -> dict[str, Any]:
    """Return all figures of a row; what a run that was cut off did is not done again.

    Raises:
        Absent: The dataset is not on this machine.
        Unknown: The presets offer no such row.
    """
    of = kept.identity(row, dataset, seed)
    images = datasets.load(dataset, work / dataset.name)
    if row.kind == "jpeg":
        figures = _jpeg(images)
    else:
        own = f"{row.name}/{seed}-{of['settings'][:8]}-{of['code'][:8]}"
        places = Places(work / dataset.name, own, dataset.shape)
        coder, seconds = fitted(row, images, seed, places)
        figures = judge(coder, images, row)
        figures["train_cpu_minutes"] = seconds / 60
        figures |= pace(coder, images)
    return {
        "dataset": dataset.name,
        "row": row.name,
        "seed": seed,
        "of": of,
        "settings": row.settings(seed),
        "figures": figures,
        "date": str(datetime.date.today()),
        "processor": kept.processor(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    }


def fitted(row: Row, images: Images, seed: int, places: Places) -> tuple[Coder, float]:
    """Return the coder of a row and the CPU seconds that fitting it took."""
    clock = places.fit / "cpu_seconds.json"
    if row.kind == "raw":
        return coders.Raw(images), 0.0
    if row.kind == "pca":
        start = speed.cpu_seconds()
        components = coders.Pca(images, int(row.options["latent_dim"]), seed)
        return components, speed.cpu_seconds() - start
    if not (places.artifact / artifact.CARD).exists():
        places.examples("train", images)  # written before the clock counts
        places.examples("held_out", images)
        meter = Meter(clock)
        found = coders.train(row, images, seed, places, meter)
        meter.keep()  # before the artefact stands: its cost is then known
        coders.save(found, places, images)
    return coders.Saved(places.artifact), float(json.loads(clock.read_text()))


def judge(coder: Coder, images: Images, row: Row) -> dict[str, Any]:
    """Return what the latents of ``coder`` are good for."""
    learned, test = coder.encode(images.train), coder.encode(images.test)
    start = speed.cpu_seconds()
    chosen = probes.choose(learned, images.labels, images.held_out)
    probing = speed.cpu_seconds() - start
    named = probes.neighbours(learned, images.labels, test)
    figures: dict[str, Any] = {
        "latent_dim": learned.shape[1],
        "linear": _share(chosen.probe.named(test), images),
        "knn": _share(named, images),
        "strength": chosen.strength,
        "probe_cpu_seconds": probing,
        "tried": {f"{one:g}": round(hit, 4) for one, hit in chosen.tried.items()},
        "bytes_float32": 4 * learned.shape[1],
    }
    if row.kind == "raw":
        return figures
    painted = coder.decode(test)
    psnr, ssim = rate.fidelity(images.test / np.float32(255), painted)
    figures |= {"psnr": psnr, "ssim": ssim}
    some = learned[np.random.default_rng(0).permutation(len(learned))[:LEARNED]]
    if learned.shape[1] <= FEW:
        figures["health"] = artifact.health(some)
    figures["int8"] = _int8(coder, images, test, some, chosen.probe)
    judged = slice(0, rate.JUDGED)
    points = rate.curve(coder, some, test[judged], images.test[judged])
    figures["curve"] = [_rounded(point) for point in points]
    return figures


def pace(coder: Coder, images: Images) -> dict[str, Any]:
    """Return how fast ``coder`` encodes, and which share of the core's peak that is."""
    encoded = speed.rate(coder.encode, images.test[:TIMED])
    peak = speed.peak()
    figures = {"encode_per_second": encoded, "sgemm_gflops": peak}
    operations = coder.operations()
    if operations:
        figures["encode_mflop"] = operations / 1e6
        figures["share_of_peak"] = encoded * operations / (peak * 1e9)
    return figures


def _int8(
    coder: Coder,
    images: Images,
    test: np.ndarray,
    learned: np.ndarray,
    probe: probes.Linear,
) -> dict[str, float]:
    """Return size and worth of test latents in one byte a number, by zstd."""
    step = np.maximum(np.abs(learned).max(axis=0) / 127, 1e-12)
    numbers = np.clip(np.rint(test / step), -127, 127).astype(np.int8)
    data = np.ascontiguousarray(numbers.T).tobytes()
    restored = numbers * step
    psnr = rate.fidelity(images.test[:500] / np.float32(255),
                         coder.decode(restored[:500]))[0]  # fmt: skip
    exact = rate.fidelity(images.test[:500] / np.float32(255),
                          coder.decode(test[:500]))[0]  # fmt: skip
    return {
        "bytes": len(pa.Codec("zstd", 19).compress(data)) / len(test),
        "linear": _share(probe.named(restored), images),
        "psnr_loss": exact - psnr,
    }


def _jpeg(images: Images) -> dict[str, Any]:
    judged = images.test[: rate.JUDGED]
    return {
        "curve": [_rounded(point) for point in jpeg.curve(judged)],
        "png_bytes": jpeg.png_bytes(judged),
    }


def _share(named: np.ndarray, images: Images) -> float:
    return float(np.mean(named == images.test_labels))


def _rounded(point: rate.Point) -> list[float]:
    return [float(f"{value:.5g}") for value in point]
