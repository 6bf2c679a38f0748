"""Features of images that no encoder under judgement had a hand in.

Random patches of training images, whitened, are filters nearly as good as learned ones
(Coates and Ng 2011, "The importance of encoding versus training with sparse coding and
vector quantization"): fitted in seconds, in closed form but for the seed that draws
them, and the same for every preset, so that distances between images can be compared.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.pca import Batches, Pixels

Array = NDArray[np.float32]

SIDE = 32
"""Images are averaged down until their longest side is no more than this."""
PATCH = 6
STRIDE = 2
FILTERS = 128
FEATURES = 64
"""Principal components of the pooled responses that are kept, at most."""
PATCHES = 40_000
"""Patches that the whitening is fitted on, and the filters drawn from."""
SMOOTHING = 0.1
"""Added to the variances of whitened patches, as a share of their mean."""
CONTRAST = 0.003
"""Added to a patch's variance before it is divided by its root: fainter is no texture.

With less, what an autoencoder leaves on an even background outweighs all else.
"""
BATCH = 256
TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Critic:
    """A fitted map from images to features.

    Attributes:
        filters: Of shape ``(patch numbers, FILTERS)``; the whitening is in them.
        offset: What the whitened mean patch answers, ``(FILTERS,)``.
        mean: Mean of the pooled responses, ``(p,)``.
        directions: Their principal components, ``(p, features)``, scaled so that
            all features together have variance 1 on the images it was fitted on.
    """

    filters: Array
    offset: Array
    mean: Array
    directions: Array

    def features(self, images: Array | Pixels) -> Array:
        """Return features, ``(n, features)``, of ``images``, ``(n, h, w, c)``.

        Whole numbers count as 0 to 255, others as 0 to 1.
        """
        found = [
            (self._pooled(part) - self.mean) @ self.directions
            for part in _parts(images)
        ]
        return np.concatenate(found)

    def describe(self) -> dict[str, Any]:
        """Return what it is, as JSON can hold it."""
        return {
            "features": "random whitened patches",
            "filters": int(self.filters.shape[1]),
            "numbers": int(self.directions.shape[1]),
        }

    def _pooled(self, images: Array) -> Array:
        patches, rows, columns = _patches(images)
        found = patches @ self.filters - self.offset
        grid = found.reshape(len(images), rows, columns, -1)
        halves = [slice(0, -(-rows // 2)), slice(rows // 2, rows)]
        sides = [slice(0, -(-columns // 2)), slice(columns // 2, columns)]
        quarters = [grid[:, down, right] for down in halves for right in sides]
        pooled = [
            np.maximum(sign * quarter, 0.0).mean(axis=(1, 2))
            for quarter in quarters
            for sign in (1.0, -1.0)
        ]
        return np.concatenate(pooled, axis=1)


def fit(batches: Batches, seed: int = 0) -> Critic:
    """Return a critic of the images that ``batches`` gives, uint8, ``(n, h, w, c)``."""
    drawn = _draw(batches, seed)
    mean = drawn.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(drawn.T, dtype=np.float64))
    scale = 1.0 / np.sqrt(np.maximum(values, 0.0) + SMOOTHING * values.mean() + TINY)
    whitening = (vectors * scale) @ vectors.T
    rng = np.random.default_rng([seed, 1])
    chosen = (drawn[rng.permutation(len(drawn))[:FILTERS]] - mean) @ whitening
    chosen /= np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-12)
    filters = whitening @ chosen.T
    raw = Critic(
        filters.astype(np.float32),
        (mean @ filters).astype(np.float32),
        np.zeros(1, np.float32),
        np.eye(8 * filters.shape[1], dtype=np.float32),
    )
    pooled = np.concatenate([raw.features(pixels) for pixels in batches()])
    return dataclasses.replace(raw, **_reduced(pooled.astype(np.float64)))


def _reduced(pooled: NDArray[np.float64]) -> dict[str, Array]:
    mean = pooled.mean(axis=0)
    centred = pooled - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(pooled))
    kept = np.argsort(values)[::-1][: min(FEATURES, len(pooled) - 1)]
    scale = 1.0 / np.sqrt(max(values[kept].sum(), 1e-12))
    directions = vectors[:, kept] * scale
    return {
        "mean": mean.astype(np.float32),
        "directions": directions.astype(np.float32),
    }


def _draw(batches: Batches, seed: int) -> Array:
    """Return some patches of each batch, as many of an image as of the next."""
    count = sum(len(pixels) for pixels in batches())
    each = max(1, PATCHES // max(count, 1))
    rng = np.random.default_rng(seed)
    found = []
    for pixels in batches():
        for part in _parts(pixels):
            patches, rows, columns = _patches(part)
            several = patches.reshape(len(part), rows * columns, -1)
            places = rng.integers(rows * columns, size=(len(part), each))
            found.append(np.take_along_axis(several, places[:, :, None], axis=1))
    drawn = np.concatenate([one.reshape(-1, one.shape[-1]) for one in found])
    return drawn[rng.permutation(len(drawn))[:PATCHES]]


def _parts(images: Array | Pixels) -> Iterator[Array]:
    """Yield ``images`` a batch at a time, in [0, 1] and no larger than ``SIDE``."""
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        scale = 255.0 if part.dtype == np.uint8 else 1.0
        yield _small(part.astype(np.float32) / np.float32(scale))


def _small(images: Array) -> Array:
    times = -(-max(images.shape[1:3]) // SIDE)
    height, width = (side // times * times for side in images.shape[1:3])
    if times == 1:
        return images
    tiles = images[:, :height, :width].reshape(
        len(images), height // times, times, width // times, times, images.shape[3]
    )
    return np.asarray(tiles.mean(axis=(2, 4)))


def _patches(images: Array) -> tuple[Array, int, int]:
    """Return patches of even brightness and contrast, with their rows and columns."""
    size = min(PATCH, *images.shape[1:3])
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), (1, 2))
    windows = windows[:, ::STRIDE, ::STRIDE]  # (n, rows, columns, c, size, size)
    count, rows, columns = windows.shape[:3]
    flat = windows.reshape(count * rows * columns, -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.sqrt((flat * flat).mean(axis=1, keepdims=True) + np.float32(CONTRAST))
    return flat, rows, columns
