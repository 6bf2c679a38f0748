"""What is judged: pixels to latents and back, whoever made it."""

import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from models import artifact, pca, tfrecord
from models import transform as transforms
from models.data import Examples
from models.fit import fit
from models.spec import IMAGE, IMAGE_ID, ImageShape
from models.task import Candidate, Data, Progress, Task
from quality import speed
from quality.datasets import Images
from quality.rows import Row

AT_ONCE = 1000
"""Examples in a file, and images that are decoded at once."""


class Coder(Protocol):
    """Pixels to latents and back."""

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Return the latents, float32 (n, d), of uint8 ``pixels`` (n, h, w, c)."""

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return images in [0, 1], float32 (n, h, w, c), of ``latents`` (n, d)."""

    def operations(self) -> float | None:
        """Return what encoding an image takes, in floating-point operations."""


class Raw:
    """The pixels themselves, normalised by channel."""

    def __init__(self, images: Images) -> None:
        self._mean, self._std = moments(images.train[~images.held_out])
        self._shape = images.train.shape[1:]

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        values = (pixels / np.float32(255) - self._mean) / self._std
        return np.asarray(values, np.float32).reshape(len(pixels), -1)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        values = latents.reshape(-1, *self._shape) * self._std + self._mean
        return np.clip(values, 0.0, 1.0)

    def operations(self) -> None:
        """Return nothing: normalising is no matrix product."""


class Pca:
    """Whitened principal components of the training images."""

    def __init__(self, images: Images, size: int, seed: int) -> None:
        learned = images.train[~images.held_out]

        def batches() -> Iterable[np.ndarray]:
            for start in range(0, len(learned), AT_ONCE):
                yield learned[start : start + AT_ONCE]

        self._pca = pca.fit(batches, size, seed)
        self._shape = images.train.shape[1:]

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        size = artifact.BATCH_SIZE
        parts = range(0, len(pixels), size)
        return np.concatenate(
            [self._pca.encode(pixels[at : at + size]) for at in parts]
        )

    def decode(self, latents: np.ndarray) -> np.ndarray:
        flat = (latents * self._pca.spread) @ self._pca.components + self._pca.mean
        return np.clip(flat, 0.0, 1.0).reshape(-1, *self._shape)

    def operations(self) -> float:
        return 2.0 * self._pca.components.size


class Saved:
    """An encoder and its decoder, as the artefact at ``folder`` holds them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._artifact = artifact.load(str(folder))
        self._encoder = artifact._load_model(str(folder / artifact.ENCODER))

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return self._artifact.encode(pixels)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        return self._artifact.decode(latents)

    def operations(self) -> float | None:
        return speed.operations(self._encoder)


def train(
    row: Row, images: Images, seed: int, places: "Places", progress: Progress
) -> Candidate:
    """Return the fitted preset of ``row``; a fit that was cut off is taken up."""
    learned = Examples(places.examples("train", images), places.shape)
    held_out = Examples(places.examples("held_out", images), places.shape)
    return fit(
        Task(
            encoder=row.encoder(),
            train=row.training(seed),
            data=Data(learned, held_out, places.transform(images).name),
            folder=str(places.fit),
            progress=progress,
        )
    )


def save(found: Candidate, places: "Places", images: Images) -> None:
    """Leave the artefact of what was fitted."""
    facts = {
        "epochs": len(found.trained.history),
        "best_epoch": found.trained.best_epoch,
        "resumed_at": found.trained.resumed_at,
    }
    transform, folder = str(places.transform(images)), str(places.artifact)
    artifact.save(folder, found.encoder, found.decoder, transform, facts)


class Places:
    """Where what a row needs is kept between runs; all of it can be made again.

    Attributes:
        shape: Of an image.
        fit: Folder of the checkpoint.
        artifact: Folder of the fitted encoder.
    """

    def __init__(self, work: pathlib.Path, own: str, shape: ImageShape) -> None:
        self._work, self.shape = work, shape
        self.fit = work / own / "fit"
        self.artifact = work / own / "artifact"
        self.fit.mkdir(parents=True, exist_ok=True)

    def examples(self, split: str, images: Images) -> list[str]:
        """Return the TFRecords of ``split``, which are written if need be."""
        folder = self._work / "examples" / split
        wanted = images.held_out if split == "held_out" else ~images.held_out
        if not folder.exists():
            aside = folder.with_name(f"aside.{split}.{os.getpid()}")
            aside.mkdir(parents=True)
            mean, std = moments(images.train[~images.held_out])
            _write(aside, images.train[wanted], mean, std)
            aside.rename(folder)
        return [str(path) for path in sorted(folder.iterdir())]

    def transform(self, images: Images) -> pathlib.Path:
        """Return the folder of the transform that normalises by channel."""
        folder = self._work / "per_channel"
        if not (folder / transforms.CARD).exists():
            folder.mkdir(parents=True, exist_ok=True)
            mean, std = moments(images.train[~images.held_out])
            values = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
            np.save(folder / transforms.LOOKUP, (values - mean) / std)
            card = {
                "format_version": transforms.FORMAT_VERSION,
                "transform_id": folder.name,
                "image_spec_id": "x".join(map(str, self.shape)),
                "normalise": "per_channel",
                "mean": mean.tolist(),
                "std": std.tolist(),
                **self.shape._asdict(),
                "files": transforms.digests(str(folder)),
            }
            (folder / transforms.CARD).write_text(json.dumps(card))
        return folder


def moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of ``pixels`` in [0, 1]."""
    counts = [np.bincount(pixels[..., one].ravel(), minlength=256)
              for one in range(pixels.shape[-1])]  # fmt: skip
    shares = np.stack(counts, axis=1) / (pixels.size / pixels.shape[-1])
    values = np.arange(256)[:, None] / 255.0
    mean = (shares * values).sum(axis=0)
    std = np.sqrt((shares * (values - mean) ** 2).sum(axis=0))
    return mean.astype(np.float32), std.astype(np.float32)


def _write(
    folder: pathlib.Path, pixels: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> None:
    for start in range(0, len(pixels), AT_ONCE):
        rows = (pixels[start : start + AT_ONCE] / np.float32(255) - mean) / std
        with (folder / f"{start:07}.tfrecord").open("wb") as file:
            tfrecord.write_frames(file, _payloads(rows))


def _payloads(rows: np.ndarray) -> Iterator[bytes]:
    for row in rows:
        yield tfrecord.encode_example({IMAGE: row, IMAGE_ID: b"0" * 64})
