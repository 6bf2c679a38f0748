"""Principal components of images: the yardstick every encoder is held against."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Batches = Callable[[], Iterable[Pixels]]
"""Gives the same images each time it is called, a batch at a time."""

EXACT_BYTES = 2**27
"""Below this the images are held in memory and scikit-learn fits them."""
OVERSAMPLING = 16
ROUNDS = 6
SILENT = 1e-5
"""Components that spread less than this share of the first are left at zero."""


@dataclasses.dataclass(frozen=True)
class Pca:
    """A fitted PCA whose latents are whitened.

    Attributes:
        mean: The mean image, flat, of shape ``(d,)``.
        components: Orthonormal directions, of shape ``(k, d)``.
        spread: Standard deviation along each, of shape ``(k,)``.
    """

    mean: Floats
    components: Floats
    spread: Floats

    def encode(self, pixels: Pixels) -> Floats:
        """Return whitened latents ``(n, k)`` of images ``(n, h, w, c)``."""
        loud = self.spread > SILENT * self.spread[:1]
        scale = np.where(loud, 1.0 / np.where(loud, self.spread, 1.0), 0.0)
        flat = (_flat(pixels) - self.mean) @ self.components.T
        return np.asarray(flat * scale, dtype=np.float32)

    def encode_and_reconstruct(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Return latents ``(n, k)`` and reconstructions ``(n, h, w, c)`` in [0, 1]."""
        latents = self.encode(pixels)
        flat = (latents * self.spread) @ self.components + self.mean
        shown = np.clip(flat, 0.0, 1.0).reshape(pixels.shape)
        return latents, shown.astype(np.float32)


def fit(batches: Batches, size: int, seed: int = 0) -> Pca:
    """Return a PCA of ``size`` components of the images that ``batches`` gives.

    Fewer images or pixels than ``size`` give fewer components. In memory with
    scikit-learn where that takes less than ``EXACT_BYTES``, else in passes over the
    batches.
    """
    count, width = 0, 0
    for pixels in batches():
        count, width = count + len(pixels), pixels[0].size
    size = min(size, count - 1, width)
    copies = 3  # the pixels, the centred ones, and what the solver needs beside them
    if copies * count * width * np.dtype(np.float32).itemsize <= EXACT_BYTES:
        return _in_memory(batches, size, seed)
    return in_passes(batches, size, seed)


def in_passes(batches: Batches, size: int, seed: int = 0) -> Pca:
    """Return a PCA found by randomised subspace iteration.

    Halko, Martinsson and Tropp (2011), "Finding structure with randomness",
    algorithms 4.4 and 5.3 on the covariance. Holds one batch and two matrices of
    ``(pixels, size + 16)`` numbers; reads the images eight times.
    """
    mean, count = _mean(batches)
    rng = np.random.default_rng(seed)
    columns = min(size + OVERSAMPLING, count, len(mean))
    basis = rng.standard_normal((len(mean), columns), dtype=np.float32)
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(basis)
        image = np.zeros_like(basis)
        for pixels in batches():
            centred = _flat(pixels) - mean
            image += centred.T @ (centred @ basis)
        basis = image / np.float32(count)
    basis, _ = np.linalg.qr(basis)
    small = np.zeros((columns, columns))
    for pixels in batches():
        projected = ((_flat(pixels) - mean) @ basis).astype(np.float64)
        small += projected.T @ projected
    values, vectors = np.linalg.eigh(small / (count - 1))
    largest = np.argsort(values)[::-1][:size]
    directions = (basis @ vectors[:, largest].astype(np.float32)).T
    spread = np.sqrt(np.maximum(values[largest], 0.0))
    return Pca(mean, np.ascontiguousarray(directions), spread.astype(np.float32))


def _in_memory(batches: Batches, size: int, seed: int) -> Pca:
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    flat = np.concatenate([_flat(pixels) for pixels in batches()])
    with threadpool_limits(1):  # on a busy machine threads wait more than they work
        found = PCA(size, random_state=seed, copy=False).fit(flat)
    return Pca(
        found.mean_.astype(np.float32),
        found.components_.astype(np.float32),
        np.sqrt(found.explained_variance_).astype(np.float32),
    )


def _mean(batches: Batches) -> tuple[Floats, int]:
    total: NDArray[np.float64] | None = None
    count = 0
    for pixels in batches():
        part = _flat(pixels).sum(axis=0, dtype=np.float64)
        total = part if total is None else total + part
        count += len(pixels)
    if total is None:
        raise ValueError("a PCA needs at least two images, got none")
    return (total / count).astype(np.float32), count


def _flat(pixels: Pixels) -> Floats:
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255.0)
