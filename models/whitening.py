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
    mean: np.ndarray,
    covariance: np.ndarray,
    numbers: int,
    *,
    ridge: float = 0.0,
    standardised: bool = False,
) -> Whitening:
    """Return the map to the ``numbers`` leading directions, each of variance 1.

    Args:
        mean: Of the features.
        covariance: Of the features.
        numbers: How many directions are kept.
        ridge: Added to the variance of each direction, in shares of their mean: faint
            ones, which are noise for the most part, then get a variance below 1.
        standardised: Whether features are brought to variance 1 before directions are
            looked for, so that loud ones do not hide the others.
    """
    size = len(covariance)
    if not numbers:
        return Whitening(mean, np.zeros((size, 0)), np.zeros((0, size)))
    unit = _deviations(covariance) if standardised else np.ones(size)
    covariance = covariance / np.outer(unit, unit)
    values, vectors = scipy.linalg.eigh(
        covariance, subset_by_index=[size - numbers, size - 1]
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * _signs(vectors)
    least = max(SMALLEST * values[0], np.finfo(np.float32).tiny)
    added = ridge * np.trace(covariance) / size
    scale = np.sqrt(np.maximum(values + added, least))
    return Whitening(
        mean, vectors / scale / unit[:, None], (vectors * scale * unit[:, None]).T
    )


def _deviations(covariance: np.ndarray) -> np.ndarray:
    """Return standard deviations; features that never change count as of 1."""
    variances = np.diag(covariance)
    alive = variances > SMALLEST * variances.max()
    return np.sqrt(np.where(alive, variances, 1.0))


def _signs(vectors: np.ndarray) -> np.ndarray:
    """Return signs that make each vector's largest entry positive, whoever solved."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
