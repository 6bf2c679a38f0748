"""Measure what each extension of preset `conv` is worth, at equal CPU-minutes.

Each row trains from the same seed on the same images of CIFAR-10 until its CPU time is
spent (one process on one core, compiling left out), and is judged on test images: a
linear probe and k-NN of the whitened latent, PSNR, and what the extension is for. The
frozen model of `perceptual` is the network of the row `discriminative`. `fusion` has
`conv` as the others had it, and preset `patch` beside it. One JSON line a row; rows
that the file given by --out has already are not made again.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import cv2
import keras
import numpy as np
import pyarrow.parquet as pq

from models import device, fit, frechet, metrics, objectives, readout, tfrecord
from models.data import Examples
from models.metrics import Labelled
from models.presets import conv
from models.section import TrainSettings
from models.settings import ConvSettings, FusionSettings
from models.spec import ImageShape
from models.task import Data, Task

HERE = pathlib.Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data" / "cifar10"
WORK = HERE / ".scoreboard-work" / "extensions"
"""Where the frozen model of `perceptual` is kept between calls that have --out."""
SHAPE = ImageShape(32, 32, 3)
BATCH = 128
NOISE, MASK = 0.8, 0.5
"""Deviation of the noise, and share of blocks hidden: in training and in judging."""
ROWS: dict[str, dict[str, Any]] = {
    "discriminative": {"discriminative": 0.04},
    "plain": {},
    "attention": {"attention": 1},
    "noise": {"noise": NOISE},
    "mask": {"mask": MASK},
    "attention-mask": {"attention": 1, "mask": MASK},
    "kl": {"kl": 0.2},
    "perceptual": {"perceptual_layer": "conv2d_1"},
    "all": {"attention": 1, "noise": 0.2, "mask": 0.2, "discriminative": 0.04},
}


class Corpus:
    """Images of CIFAR-10, normalised by the training images, and their labels."""

    def __init__(self, folder: pathlib.Path, train: int, test: int) -> None:
        pixels, names = load(sorted(folder.glob("train-*.parquet")), train)
        held_out, others = load(sorted(folder.glob("test-*.parquet")), test)
        known = np.unique(names + others)
        self.labels, self.test_labels = (
            np.searchsorted(known, one) for one in (names, others)
        )
        # In float32, NumPy's sums over so many pixels come to a standstill.
        self.mean, self.std = (
            one((0, 1, 2), dtype=np.float64).astype(np.float32)
            for one in (pixels.mean, pixels.std)
        )
        self.images = (pixels - self.mean) / self.std
        self.test = (held_out - self.mean) / self.std

    def psnr(self, painted: np.ndarray) -> float:
        """Return the mean PSNR of painted test images, in dB."""
        gap = (np.clip(self.pixels(painted), 0, 1) - self.pixels(self.test)) ** 2
        return float(metrics.psnr(gap.mean(axis=(1, 2, 3))).mean())

    def pixels(self, images: np.ndarray) -> np.ndarray:
        """Return normalised images as numbers from 0 to 1."""
        return images * self.std + self.mean


def main() -> None:
    """Print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--test", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="*", default=[*ROWS, "fusion"])
    parser.add_argument("--out", type=pathlib.Path, default=None)
    flags = parser.parse_args()
    corpus = Corpus(flags.data, flags.images, flags.test)
    done = earlier(flags)
    with tempfile.TemporaryDirectory(prefix="latentlake-extensions-") as work:
        folder = WORK / flags.out.stem if flags.out else pathlib.Path(work)
        folder.mkdir(parents=True, exist_ok=True)
        for name in flags.rows:
            if name in done:
                continue
            row = fused if name == "fusion" else judged
            about = {"name": name, "settings": ROWS.get(name, {}), "of": of(flags)}
            line = json.dumps(about | row(name, corpus, flags, folder))
            print(line, flush=True)
            if flags.out:
                with flags.out.open("a") as file:
                    file.write(f"{line}\n")


def earlier(flags: argparse.Namespace) -> set[str]:
    """Return the rows that the file given by --out has.

    Raises:
        SystemExit: They were made otherwise than is asked now.
    """
    if not flags.out or not flags.out.exists():
        return set()
    rows = [json.loads(line) for line in flags.out.read_text().splitlines()]
    for row in rows:
        if row["of"] != of(flags):
            raise SystemExit(f"{flags.out} has rows of {row['of']}: name another file.")
    return {row["name"] for row in rows}


def of(flags: argparse.Namespace) -> dict[str, Any]:
    """Return what every row has in common."""
    given = {key: getattr(flags, key) for key in ("minutes", "images", "test", "seed")}
    return given | {"noise": NOISE, "mask": MASK}


def judged(
    name: str, corpus: Corpus, flags: argparse.Namespace, folder: pathlib.Path
) -> dict[str, Any]:
    """Return the figures of one row of ``ROWS``."""
    settings = ConvSettings(**ROWS[name])
    stem = folder / "discriminative.keras"
    if settings.perceptual_layer:
        settings = settings.model_copy(update={"perceptual": str(stem)})
    keras.utils.clear_session()  # layers are named alike in every row
    keras.utils.set_random_seed(flags.seed)
    parts = conv.build(SHAPE, settings)
    model = objectives.autoencoder(parts.coder, parts.painter, parts.means, settings)
    figures = trained(model, corpus.images, flags.minutes * 60.0, flags.seed)
    if name == "discriminative":
        parts.means.save(stem)
    moments = readout.Moments(device.settle(parts.features)).terms(corpus.images)
    maps = readout.solve(moments, conv.groups(settings))
    encoder, decoder = conv.finish(parts, settings, maps)
    figures |= features(encoder, corpus)
    figures["psnr"] = corpus.psnr(through(corpus.test, encoder, decoder))
    return rounded(
        figures | own(parts, corpus, flags.seed) | looks(parts, corpus, stem)
    )


def trained(
    model: keras.Model, images: np.ndarray, seconds: float, seed: int
) -> dict[str, float]:
    """Train for so many CPU seconds after the first step; return what was done."""
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=device.jit_compile())
    model.train_on_batch(images[:BATCH])
    rng, steps, start = np.random.default_rng(seed), 0, time.process_time()
    while time.process_time() - start < seconds:
        model.train_on_batch(images[rng.integers(0, len(images), BATCH)])
        steps += 1
    spent = time.process_time() - start
    return {"cpu_seconds": spent, "images_a_second": steps * BATCH / spent}


def features(encoder: keras.Model, corpus: Corpus) -> dict[str, float]:
    """Return what probes say of the latent."""
    count = min(10_000, len(corpus.images))
    train = Labelled(through(corpus.images[:count], encoder), corpus.labels[:count])
    test = Labelled(through(corpus.test, encoder), corpus.test_labels)
    return {
        "linear": 100 * float(metrics.linear_probe(train, test).mean()),
        "knn": 100 * float(metrics.knn(train, test).mean()),
    }


def own(parts: conv.Parts, corpus: Corpus, seed: int) -> dict[str, float]:
    """Return the figures that single extensions are for, of any row.

    Images are drawn from N(0, 1), a variational code's prior, and from the normal
    distribution of each number of the code.
    """
    rng = np.random.default_rng(seed)
    codes = through(corpus.test, parts.means)
    noisy = corpus.test + rng.normal(0, NOISE, corpus.test.shape)
    hidden = rng.random((len(corpus.test), 8, 8, 1)) < MASK
    hidden = hidden.repeat(4, axis=1).repeat(4, axis=2)
    seen = {"psnr_of_noisy": noisy, "psnr_of_masked": np.where(hidden, 0, corpus.test)}
    found = {
        name: corpus.psnr(through(images, parts.means, parts.painter))
        for name, images in seen.items()
    }
    found["rank_of_code"] = metrics.effective_rank(codes)
    variational = "log_variance" in [layer.name for layer in parts.coder.layers]
    draws = rng.normal(size=codes.shape)
    fitted = codes.mean(axis=0) + codes.std(axis=0) * draws
    wanted = frechet.gaussian_of(small(corpus.test))
    for word, rows in (("prior", draws), ("fitted", fitted)):
        images = through(rows.astype(np.float32), parts.painter)
        found[f"frechet_of_{word}"] = frechet.distance(
            frechet.gaussian_of(small(images)), wanted
        )
    if variational:
        head = keras.Model(
            parts.coder.input, parts.coder.get_layer("log_variance").output
        )
        divergence = objectives.kl_of_dimensions(codes, through(corpus.test, head))
        least, middle = np.quantile(np.asarray(divergence), (0.0, 0.5))
        found |= {"least_kl": float(least), "median_kl": float(middle)}
    return found


def looks(parts: conv.Parts, corpus: Corpus, stem: pathlib.Path) -> dict[str, float]:
    """Return how far painted images are from their own in the stem's features."""
    if not stem.exists():
        return {}
    whole = keras.saving.load_model(stem, compile=False)
    maps = keras.Model(whole.input, whole.get_layer("conv2d_1").output)
    painted = through(corpus.test, parts.means, parts.painter)
    wanted, found = (through(one, maps) for one in (corpus.test, painted))
    error = np.square(found - wanted).mean() / wanted.var(axis=0).mean()
    return {"error_of_features": float(error)}


def fused(
    name: str, corpus: Corpus, flags: argparse.Namespace, folder: pathlib.Path
) -> dict[str, Any]:
    """Return the figures of preset ``fusion``, and of its parts."""
    with tempfile.TemporaryDirectory(prefix="latentlake-fusion-") as work:
        path = os.path.join(work, "train.tfrecord")
        with open(path, "wb") as file:
            tfrecord.write_frames(
                file,
                (
                    tfrecord.encode_example({"image": one, "image_id": b"0" * 64})
                    for one in corpus.images.astype(np.float32)
                ),
            )
        epochs = max(1, round(flags.minutes * 60 * 1500 / len(corpus.images)))
        train = Examples([path], SHAPE)
        start = time.process_time()
        found = fit.fit(
            Task(
                encoder=FusionSettings(),
                train=TrainSettings(epochs=epochs, seed=flags.seed),
                data=Data(train, Examples([], SHAPE)),
                folder=os.path.join(work, "fit"),
            )
        )
        spent = time.process_time() - start
    side_by_side = found.encoder.get_layer("parts")
    figures: dict[str, float] = {
        "cpu_seconds": spent,
        **features(found.encoder, corpus),
    }
    latents = through(corpus.test, found.encoder)
    figures["psnr"] = corpus.psnr(through(latents, found.decoder))
    for part in ("conv", "patch"):
        alone = features(side_by_side.get_layer(part), corpus)
        figures |= {f"{key}_of_{part}": value for key, value in alone.items()}
    return rounded(figures)


def through(rows: np.ndarray, *models: keras.Model) -> np.ndarray:
    """Return what ``models`` make of ``rows``, one after the other."""
    for model in models:
        rows = model.predict(rows, 256, verbose=0)
    return rows


def small(images: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 4 × 4 pixels, (n, 192): what statistics are of."""
    count = len(images)
    return images.reshape(count, 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(count, -1)


def load(files: list[pathlib.Path], count: int) -> tuple[np.ndarray, list[Any]]:
    """Return pixels from 0 to 1, and labels, of the first ``count`` images."""
    images: list[np.ndarray] = []
    labels: list[int] = []
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(2048):
            rows = batch.to_pydict()
            key = "image" if "image" in rows else "img"
            for cell in rows[key][: count - len(images)]:
                data = cell["bytes"] if isinstance(cell, dict) else cell
                pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                images.append(pixels[..., ::-1])
            labels += rows["label"]
            if len(images) == count:
                return np.stack(images).astype(np.float32) / 255, labels[:count]
    raise SystemExit(f"{files}: fewer than {count} images")


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Return figures of three decimals."""
    return {name: round(value, 3) for name, value in figures.items()}


if __name__ == "__main__":
    main()
