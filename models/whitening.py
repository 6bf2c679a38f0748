"""PCA whitening of features as an affine map and its inverse, in NumPy."""

from typing import NamedTuple

import numpy as np
import scipy.linalg

SMALLEST = 1e-6
"""Directions with less of the first one's variance are not blown up to 1."""


class Whitening(NamedTuple):
    """Features to whitened numbers, and back.

    Attributes:
        mean: Subtracted first, (features,).
        forward: Then multiplied by this, (features, numbers).
        back: The way back: multiply by this, (numbers, features), and add the mean.
    """

    mean: np.ndarray
    forward: np.ndarray
    back: np.ndarray


class Moments:
    """Running mean and covariance of rows of features."""

    def __init__(self, size: int) -> None:
        self._count = 0
        self._sum = np.zeros(size)
        self._products = np.zeros((size, size))

    def add(self, rows: np.ndarray) -> None:
        """Take ``rows``, (n, size), in."""
        exact = rows.astype(np.float64)
        self._count += len(exact)
        self._sum += exact.sum(axis=0)
        self._products += exact.T @ exact

    @property
    def mean(self) -> np.ndarray:
        """The mean of all rows."""
        return self._sum / self._count

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of all rows."""
        return self._products / self._count - np.outer(self.mean, self.mean)


def whiten(mean: np.ndarray, covariance: np.ndarray, numbers: int) -> Whitening:
    """Return the map to the ``numbers`` leading directions, each of variance 1."""
    size = len(covariance)
    if not numbers:
        return Whitening(mean, np.zeros((size, 0)), np.zeros((0, size)))
    values, vectors = scipy.linalg.eigh(
        covariance, subset_by_index=[size - numbers, size - 1]
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * _signs(vectors)
    floor = max(SMALLEST * values[0], np.finfo(np.float32).tiny)
    scale = np.sqrt(np.maximum(values, floor))
    return Whitening(mean, vectors / scale, (vectors * scale).T)


def _signs(vectors: np.ndarray) -> np.ndarray:
    """Return signs that make each vector's largest entry positive, whoever solved."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
