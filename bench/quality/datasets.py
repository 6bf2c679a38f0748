"""The images that presets are judged on: canonical pixels, labels, and their splits."""

import gzip
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from models.spec import ImageShape
from pipelines.config import ImageSettings
from pipelines.media import image
from pipelines.records import Rejection

SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data"
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
HELD_OUT = 0.1
"""Share of the training images that choices are made on, where no split is given."""


class Absent(Exception):
    """A dataset is not on this machine; the message says how to get it."""


class Part(NamedTuple):
    """One split of a dataset.

    Attributes:
        pixels: uint8, (n, height, width, channels).
        names: The label of each image.
    """

    pixels: np.ndarray
    names: np.ndarray


class Images(NamedTuple):
    """A dataset, ready to be learned from.

    Attributes:
        train: All training pixels, uint8, (n, height, width, channels).
        labels: Their labels, whole numbers.
        held_out: True for the training images that choices are made on.
        test: Test pixels, looked at once.
        test_labels: Their labels.
    """

    train: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


class Dataset(NamedTuple):
    """Where a dataset lies and what its images become.

    Attributes:
        name: As the rows and folders call it.
        title: As the page calls it.
        folder: Where its files are.
        shape: Of a canonical image.
        read: Folder, split and shape to images; no split of that name: ``None``.
        absent: What to do where the folder is missing.
    """

    name: str
    title: str
    folder: pathlib.Path
    shape: ImageShape
    read: Callable[[pathlib.Path, str, ImageShape], Part | None]
    absent: str


def parquet(folder: pathlib.Path, split: str, shape: ImageShape) -> Part | None:
    """Return the images of Parquet files, made canonical as ingest makes them."""
    files = sorted(folder.glob(f"{split}*.parquet"))
    if not files:
        return None
    spec = ImageSettings(**shape._asdict())
    tables = [pq.read_table(file, columns=["image", "label"]) for file in files]
    pixels, names = [], []
    for table in tables:
        for data, name in zip(table["image"], table["label"], strict=True):
            made = image.canonicalise(data.as_py(), spec)
            if isinstance(made, Rejection):
                raise ValueError(f"{folder}, {split}: {made.reason}: {made.detail}")
            pixels.append(made.pixels)
            names.append(name.as_py())
    return Part(np.stack(pixels), np.array(names))


def idx(folder: pathlib.Path, split: str, shape: ImageShape) -> Part | None:
    """Return the images of MNIST's two gzipped files of a split."""
    prefix = {"train": "train", "test": "t10k"}.get(split)
    if prefix is None:
        return None
    found = []
    for kind, head in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(folder / f"{prefix}-{kind}-ubyte.gz") as file:
            found.append(np.frombuffer(file.read(), np.uint8, offset=head))
    return Part(found[0].reshape(-1, *shape), found[1].astype(str))


DATASETS = {
    one.name: one
    for one in (
        Dataset(
            "cifar10", "CIFAR-10", SHARED / "cifar10", ImageShape(32, 32, 3),
            parquet, "put its Parquet files there",
        ),
        Dataset(
            "fashion", "Fashion-MNIST", FASHION, ImageShape(28, 28, 1),
            idx, "apt-get install dataset-fashion-mnist",
        ),
        Dataset(
            "grocery", "Grocery photographs", SHARED / "grocery",
            ImageShape(64, 64, 3), parquet, "put its Parquet files there",
        ),
    )
}  # fmt: skip


def load(dataset: Dataset, work: pathlib.Path) -> Images:
    """Return the images of ``dataset``; decoded once, then kept in ``work``.

    Raises:
        Absent: They are not on this machine.
    """
    kept = work / "images.npz"
    if not kept.exists():
        if not dataset.folder.is_dir():
            raise Absent(f"{dataset.folder} is missing: {dataset.absent}")
        images = _read(dataset)
        work.mkdir(parents=True, exist_ok=True)
        aside = work / "aside.images.npz"
        np.savez(aside, **images._asdict())
        aside.replace(kept)
    with np.load(kept, allow_pickle=False) as file:
        return Images(*(file[name] for name in Images._fields))


def _read(dataset: Dataset) -> Images:
    train, val, test = (
        dataset.read(dataset.folder, split, dataset.shape)
        for split in ("train", "val", "test")
    )
    assert train is not None
    assert test is not None
    if val is not None:
        held_out = np.arange(len(train.names) + len(val.names)) >= len(train.names)
        train = Part(*(np.concatenate(pair) for pair in zip(train, val, strict=True)))
    else:
        held_out = np.zeros(len(train.names), bool)
        order = np.random.default_rng(0).permutation(len(held_out))
        held_out[order[: round(HELD_OUT * len(held_out))]] = True
    classes = np.unique(train.names)
    labels, test_labels = (
        np.searchsorted(classes, part.names) for part in (train, test)
    )
    return Images(train.pixels, labels, held_out, test.pixels, test_labels)
