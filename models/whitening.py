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


def whiten(
    mean: np.ndarray, covariance: np.ndarray, numbers: int, floor: float = SMALLEST
) -> Whitening:
    """Return the map to the ``numbers`` leading directions, each of variance 1.

    Directions with less than ``floor`` of the first one's variance get less.
    """
    size = len(covariance)
    if not numbers:
        return Whitening(mean, np.zeros((size, 0)), np.zeros((0, size)))
    values, vectors = scipy.linalg.eigh(
        covariance, subset_by_index=[size - numbers, size - 1]
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * _signs(vectors)
    least = max(floor * values[0], np.finfo(np.float32).tiny)
    scale = np.sqrt(np.maximum(values, least))
    return Whitening(mean, vectors / scale, (vectors * scale).T)


def _signs(vectors: np.ndarray) -> np.ndarray:
    """Return signs that make each vector's largest entry positive, whoever solved."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
